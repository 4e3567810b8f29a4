import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { missingHardening, NODE_FLAGS, parseProc, readHardening, type Hardening } from '../../src/operations/hardening.ts';
import { CHECKOUT, startServerProcess } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';

const STATUS = (capabilities: string, noNewPrivileges: number, seccomp: number) =>
  `Name:\tnode\nUid:\t65532\t65532\t65532\t65532\nCapInh:\t0000000000000000\nCapEff:\t${capabilities}\nNoNewPrivs:\t${noNewPrivileges}\nSeccomp:\t${seccomp}\nSeccomp_filters:\t1\n`;
const MOUNTS = (root: string) => `22 1 0:20 / /proc rw,nosuid - proc proc rw\n21 1 8:1 / / ${root} shared:1 - ext4 /dev/sda1 rw\n23 21 8:2 / /data rw,relatime - ext4 /dev/sdb rw\n`;
const HARDENED: Hardening = {
  uid: 65532, effectiveCapabilities: '0000000000000000', noNewPrivileges: true, seccomp: 'filter', rootReadOnly: true, nodeOptions: null, flags: NODE_FLAGS,
};

describe('hardening', () => {
  test('is read from what Linux says of the process', () => {
    assert.deepEqual(parseProc(STATUS('0000000000000000', 1, 2), MOUNTS('ro,relatime')),
      { effectiveCapabilities: '0000000000000000', noNewPrivileges: true, seccomp: 'filter', rootReadOnly: true });
    assert.deepEqual(parseProc(STATUS('000001ffffffffff', 0, 0), MOUNTS('rw,relatime')),
      { effectiveCapabilities: '000001ffffffffff', noNewPrivileges: false, seccomp: 'disabled', rootReadOnly: false });
    assert.equal(parseProc('', MOUNTS('rw,relatime') + MOUNTS('ro')).rootReadOnly, true);
    assert.deepEqual(parseProc('', ''), { effectiveCapabilities: null, noNewPrivileges: null, seccomp: null, rootReadOnly: null });
  });

  test('misses nothing where all walls stand, and names each that does not', () => {
    assert.deepEqual(missingHardening(HARDENED), []);
    const wrong: [Partial<Hardening>, RegExp][] = [
      [{ uid: 0 }, /root/], [{ uid: null }, /root/], [{ effectiveCapabilities: '0000000000000400' }, /capabilities/], [{ effectiveCapabilities: null }, /capabilities/],
      [{ noNewPrivileges: false }, /no-new-privileges/], [{ noNewPrivileges: null }, /no-new-privileges/], [{ seccomp: 'disabled' }, /seccomp/], [{ seccomp: 'strict' }, /seccomp/],
      [{ rootReadOnly: false }, /read-only/], [{ rootReadOnly: null }, /read-only/], [{ nodeOptions: '' }, /NODE_OPTIONS/],
      ...NODE_FLAGS.map((flag): [Partial<Hardening>, RegExp] => [{ flags: NODE_FLAGS.filter((one) => one !== flag) }, new RegExp(flag)]),
    ];
    for (const [changes, problem] of wrong) {
      const missing = missingHardening({ ...HARDENED, ...changes });
      assert.equal(missing.length, 1, JSON.stringify(changes));
      assert.match(missing[0] ?? '', problem);
    }
  });

  test('has its flags in the image and in npm start alike', () => {
    const image = readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8');
    const inImage = [...image.slice(image.indexOf('ENTRYPOINT')).matchAll(/"(--[^"]+)"/g)].map(([, flag]) => flag);
    const { scripts }: { scripts: { start: string } } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));
    assert.deepEqual(inImage, NODE_FLAGS);
    assert.equal(scripts.start, `node ${NODE_FLAGS.join(' ')} dist/server.js`);
  });

  test('is stated in one line at the start', async (t) => {
    const server = startServerProcess(t, { nodeArguments: NODE_FLAGS, env: { DATABASE_URL: join(temporaryFolder(t), 'app.db'), READ_TOKEN: 'a-token-for-readers' } });
    const { uid, effective_capabilities, no_new_privileges, seccomp, root_read_only, node_options, flags, guards_on, node_version, sqlite_version } = await server.line('started');
    const found = readHardening();
    assert.deepEqual(
      { uid, effective_capabilities, no_new_privileges, seccomp, root_read_only, node_options, node_version },
      {
        uid: found.uid, effective_capabilities: found.effectiveCapabilities, no_new_privileges: found.noNewPrivileges, seccomp: found.seccomp,
        root_read_only: found.rootReadOnly, node_options: null, node_version: process.versions.node,
      });
    assert.deepEqual([flags, guards_on], [NODE_FLAGS, ['WEBHOOK_SECRET', 'READ_TOKEN']]);
    assert.match(String(sqlite_version), /^3\./);
    assert.equal((await server.line('started'))['pid'], server.child.pid);
  });

  test('is required before anything opens, where that is asked for', async (t) => {
    const folder = temporaryFolder(t);
    const refused = async (REQUIRE_HARDENED: string) => {
      const server = startServerProcess(t, { env: { DATABASE_URL: join(folder, 'app.db'), REQUIRE_HARDENED, NODE_OPTIONS: '--max-http-header-size=16384' } });
      assert.equal((await server.ended).code, 1);
      const { problems } = await server.line('start_refused');
      return problems as string[];
    };
    const container = await refused('container');
    assert.ok(container.some((problem) => problem.includes('NODE_OPTIONS')) && container.some((problem) => problem.includes('--no-addons')));
    assert.ok(!container.some((problem) => problem.includes('READ_TOKEN')));
    const everything = await refused('true');
    assert.deepEqual(everything.slice(0, container.length), container);
    assert.deepEqual(everything.slice(container.length).map((problem) => problem.split(' ')[1]),
      ['SIGNATURE_SCHEMES', 'READ_TOKEN', 'METRICS_TOKEN', 'PRIVATE_PORT', 'TLS_CERT_FILE', 'TLS_CLIENT_CA_FILE']);
    const off = startServerProcess(t, { env: { DATABASE_URL: join(folder, 'app.db'), REQUIRE_HARDENED: 'false' } });
    assert.ok(await off.url());
  });
});
