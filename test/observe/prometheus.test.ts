import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createRegistry } from '../../src/observe/prometheus.ts';

describe('createRegistry', () => {
  test('writes counters, by label too', () => {
    const registry = createRegistry();
    registry.counter('a_total', 'Plain.').increment();
    const family = registry.counters('b_total', 'By label.', ['x', 'y']);
    family.with('1', '2').increment(2.5);
    family.with('1', '2').increment();
    family.with('1', '3');
    assert.equal(registry.render(), [
      '# HELP a_total Plain.', '# TYPE a_total counter', 'a_total 1',
      '# HELP b_total By label.', '# TYPE b_total counter', 'b_total{x="1",y="2"} 3.5', 'b_total{x="1",y="3"} 0', '',
    ].join('\n'));
  });

  test('writes histograms with cumulative buckets, a bound inclusive', () => {
    const registry = createRegistry();
    const histogram = registry.histogram('h_seconds', 'Time.', [0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 2]) histogram.observe(value);
    assert.equal(registry.render(), [
      '# HELP h_seconds Time.', '# TYPE h_seconds histogram',
      'h_seconds_bucket{le="0.1"} 2', 'h_seconds_bucket{le="1"} 3', 'h_seconds_bucket{le="+Inf"} 4',
      'h_seconds_sum 2.65', 'h_seconds_count 4', '',
    ].join('\n'));
  });

  test('reads gauges when asked, and leaves out what is not known', () => {
    const registry = createRegistry();
    let value: number | undefined;
    registry.gauge('g', 'Gauge.', () => value);
    assert.equal(registry.render(), '');
    value = -Infinity;
    assert.match(registry.render(), /^g -Inf$/m);
  });

  test('reads a gauge for each value of a label', () => {
    const registry = createRegistry();
    registry.gauges('g', 'Gauge.', 'step', ['a', 'b'], (step) => (step === 'a' ? 1 : 0));
    assert.equal(registry.render(), '# HELP g Gauge.\n# TYPE g gauge\ng{step="a"} 1\ng{step="b"} 0\n');
  });

  test('escapes what labels and help may not hold', () => {
    const registry = createRegistry();
    registry.gauge('g', 'a\\b\nc', () => NaN, { l: 'q"u\\o\nte' });
    assert.equal(registry.render(), '# HELP g a\\\\b\\nc\n# TYPE g gauge\ng{l="q\\"u\\\\o\\nte"} NaN\n');
  });

  test('never takes two combinations of values for one', () => {
    const registry = createRegistry();
    const family = registry.counters('c_total', 'C.', ['x', 'y']);
    family.with('a","b', 'c').increment();
    family.with('a', 'b","c').increment();
    assert.equal(registry.render().match(/^c_total/gm)?.length, 2);
  });
});
