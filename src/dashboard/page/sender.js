/** Senders: what one looks like, and the link that shows its messages. */
import { addressOf } from './address.js';
import { make } from './dom.js';

/** ITU-T E.164, as the service wants it. */
const E164 = /^\+[1-9][0-9]{1,14}$/;

/**
 * Whether messages can be received from it. Those of a file that was made before there were rules may have other senders.
 * @param {string} from
 */
export const canBeSender = (from) => E164.test(from);

/**
 * A number without what people write between its digits, where it is one then.
 * @param {string} typed
 */
export function withoutBlanks(typed) {
  const bare = typed.replace(/[\s().\-\u2010-\u2015\u202a-\u202e\u2066-\u2069]/g, '');
  return E164.test(bare) ? bare : typed.trim();
}

/**
 * A sender, as a link to its messages.
 * @param {string} from
 */
export function makeSender(from) {
  const link = make('a', 'sender', from);
  link.setAttribute('href', addressOf({ from }));
  link.dataset['sender'] = from;
  link.title = 'Show the messages of this sender';
  return link;
}
