import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  indexPart, intersect, LEAST_SEARCHABLE_UNITS, mergePieces, PART_BITS, pieceOf, PIECES, placesInPiece, type Posting, SEGMENT_BITS, trigramsOf,
} from '../../../../../src/storage/sqlite/indexing/text-index/trigrams.ts';
import { fuzz } from '../../../../support/random.ts';

const PART_PLACES = 2 ** PART_BITS;
const PLACES = 2 ** SEGMENT_BITS;

interface Row {
  /** Within the segment. */
  readonly place: number;
  readonly text: string;
}

/** The places where a search can match, by the parts of a segment that these texts make. */
function candidatesInParts(rows: readonly Row[], search: string): number[] {
  return partsOf(rows).flatMap(({ part, pieces }) => {
    const places = trigramsOf(search).map((trigram) => placesInPiece(pieces[pieceOf(trigram)] ?? new Uint8Array(), trigram));
    return intersect(places).map((place) => part * PART_PLACES + place);
  });
}

/** The same, by the merged segment. */
function candidates(rows: readonly Row[], search: string): number[] {
  const postings = new Map(mergeAll(rows).map(({ trigram, places }) => [trigram, places]));
  const wanted = trigramsOf(search).map((trigram) => postings.get(trigram) ?? new Uint8Array());
  const found = intersect(wanted);
  assert.deepEqual(candidatesInParts(rows, search), found);
  return found;
}

function partsOf(rows: readonly Row[]) {
  const byPart = Map.groupBy(rows, ({ place }) => Math.floor(place / PART_PLACES));
  return [...byPart].map(([number, found]) =>
    ({ part: number, pieces: indexPart(found.map(({ place, text }) => ({ place: place % PART_PLACES, text }))) }));
}

function mergeAll(rows: readonly Row[]): Posting[] {
  const parts = partsOf(rows);
  return Array.from({ length: PIECES }, (_, number) =>
    mergePieces(number, parts.map(({ part, pieces }) => ({ part, piece: pieces[number] ?? new Uint8Array() })))).flat();
}

describe('trigrams', () => {
  test('find the places of a text by any part of it, ASCII letters in either case', () => {
    const rows = [{ place: 0, text: 'Hello World' }, { place: 7, text: 'hello' }, { place: 300, text: 'ÉCOLE 😀' }, { place: PLACES - 1, text: 'other world' }];
    const searches: [string, number[]][] = [
      ['hello', [0, 7]], ['ELL', [0, 7]], ['O w', [0]], ['world', [0, PLACES - 1]], ['Éco', [300]], [' 😀', [300]], ['Hello World', [0]], ['absent', []],
    ];
    for (const [search, places] of searches) assert.deepEqual(candidates(rows, search), places, search);
  });

  test('of no text, and of texts too short to have one, are none', () => {
    assert.deepEqual(mergeAll([]), []);
    assert.deepEqual(mergeAll([{ place: 0, text: '' }, { place: 1, text: 'ab' }]), []);
    assert.deepEqual(trigramsOf('ab'), []);
    assert.equal(trigramsOf('x'.repeat(LEAST_SEARCHABLE_UNITS)).length, 1);
  });

  test('of a long search are a few, spread over all of it', () => {
    const search = Array.from({ length: 256 }, (_, index) => String.fromCharCode(0x4e00 + index)).join('');
    const trigrams = trigramsOf(search);
    assert.ok(trigrams.length > 1 && trigrams.length < 20);
    for (const begin of [0, 80, 160]) {
      const part = Array.from({ length: 80 }, (_, index) => trigramsOf(search.slice(begin + index, begin + index + 3))).flat();
      assert.ok(part.some((trigram) => trigrams.includes(trigram)), String(begin));
    }
  });

  test('keep every place of a trigram that all texts have, whatever lies between', () => {
    for (const step of [1, 127, 128, 129, 16_383, 16_384]) {
      const places = Array.from({ length: Math.ceil(PLACES / step) }, (_, index) => index * step);
      assert.deepEqual(candidates(places.map((place) => ({ place, text: 'same' })), 'same'), places, String(step));
    }
  });

  fuzz('never miss a match', 300, (random) => {
    const draw = () => random.pick(['a', 'B', 'c', 'é', '😀', ' ', '\0', '\ud800']);
    const rows = Array.from({ length: 20 }, (_, index) => ({ place: index * (1 + random.below(1000)), text: random.text(30, draw) }))
      .filter(({ place }, index, all) => place < PLACES && all.findIndex((other) => other.place === place) === index)
      .toSorted((a, b) => a.place - b.place);
    const within = random.pick(['', ...rows.map(({ text }) => text)]);
    const begin = random.below(within.length + 1);
    const search = within.slice(begin, begin + LEAST_SEARCHABLE_UNITS + random.below(10));
    if (search.length < LEAST_SEARCHABLE_UNITS) return;
    const found = candidates(rows, search);
    for (const { place, text } of rows) if (text.includes(search)) assert.ok(found.includes(place), JSON.stringify({ text, search }));
  });
});
