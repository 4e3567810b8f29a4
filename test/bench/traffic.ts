/** Realistic messages, of real randomness, for the benchmark: what a national SMS provider would deliver. */
import { createHmac, randomFillSync, randomUUID } from 'node:crypto';
import type { Message } from '../../src/message.ts';

export const SENDERS = 200_000;
/** A word that stands in one message of a hundred. */
export const COMMON_WORD = 'reservation';
const COMMON_SHARE = 0.01;
const VOCABULARY_WORDS = 5000;
const WORDS_PER_TEXT = { least: 4, most: 24 };

const numbers = new Float64Array(4096);
const bits = new Uint32Array(numbers.length);
let drawn = numbers.length;

/** A real random number from 0 up to, not including, 1. */
export function random(): number {
  if (drawn === numbers.length) {
    randomFillSync(bits);
    for (let index = 0; index < bits.length; index += 1) numbers[index] = (bits[index] ?? 0) / 2 ** 32;
    drawn = 0;
  }
  drawn += 1;
  return numbers[drawn - 1] ?? 0;
}

const below = (bound: number) => Math.floor(random() * bound);

/** Low indices far more often than high ones, as with words and senders in the world. */
const skewedBelow = (bound: number) => Math.floor(bound * random() ** 2);

const SYLLABLES = ['ba', 'ce', 'di', 'fo', 'gu', 'ha', 'ke', 'li', 'mo', 'nu', 'pa', 're', 'si', 'to', 'vu', 'wa', 'ye', 'zi', 'an', 'er'];
const syllable = (digit: number) => SYLLABLES[digit % SYLLABLES.length] ?? '';

/** The same words in every process, so that one can look for what another has sent. */
const VOCABULARY = Array.from({ length: VOCABULARY_WORDS }, (_, index) =>
  syllable(index) + syllable(Math.floor(index / 20)) + syllable(Math.floor(index / 400) + 7));

export const senderNumber = (index: number) => `+9198${String(10_000_000 + index).padStart(8, '0')}`;

/** A code that no other message has, to be looked for. */
export const randomCode = () => Math.floor(random() * 36 ** 8).toString(36).padStart(8, '0').toUpperCase();

/** Of a text that `randomText` has made. */
export const codeIn = (text: string) => text.slice('Ref '.length, text.indexOf(':'));

export function randomText(): string {
  const words = WORDS_PER_TEXT.least + below(WORDS_PER_TEXT.most - WORDS_PER_TEXT.least + 1);
  let text = `Ref ${randomCode()}:`;
  for (let word = 0; word < words; word += 1) text += ` ${VOCABULARY[skewedBelow(VOCABULARY_WORDS)]}`;
  return random() < COMMON_SHARE ? `${text} ${COMMON_WORD}` : text;
}

/** A message of one of the senders at a time in milliseconds since 1970. */
export function randomMessage(at: number, message_id: string = randomUUID()): Message {
  return {
    message_id, from: senderNumber(skewedBelow(SENDERS)), to: '+14155550100', ts: new Date(at).toISOString(), text: randomText(),
  };
}

/** A whole signed request, head and body, as bytes. */
export function webhookRequest(message: Message, secret: string): Buffer {
  const body = JSON.stringify(message);
  const signature = createHmac('sha256', secret).update(body).digest('hex');
  return Buffer.from(`POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nX-Signature: ${signature}\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

export function getRequest(target: string): Buffer {
  return Buffer.from(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
}
