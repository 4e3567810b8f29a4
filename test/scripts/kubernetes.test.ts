/** The manifests of Kubernetes: held against its schemas, against the service, and their pods run as far as that goes without a cluster. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import { hasOpenssl } from '../support/certificates.ts';
import { freePort } from '../support/free-port.ts';
import { makeCredentials, startInboxDatabase } from '../support/inbox-database.ts';
import { knownVariables } from '../support/known-variables.ts';
import { MANIFESTS, podOf, readManifests, type Manifest } from '../support/kubernetes.ts';
import { message, sign } from '../support/messages.ts';
import { mountSecret, mountVolumes, noPods, runJob, startPod, withFolders, type Pod } from '../support/pod.ts';
import { isInstalled, NOT_INSTALLED } from '../support/postgres.ts';
import { ask } from '../support/request.ts';
import { waitFor } from '../support/wait.ts';
import { hasYaml, NO_YAML } from '../support/yaml.ts';
import { faultsOf, VERSIONS } from './kubernetes-schemas.ts';

const READ_ME = readFileSync(join(MANIFESTS, 'README.md'), 'utf8');
const all: readonly Manifest[] = hasYaml ? ['common', 'sqlite', 'postgres', 'restore'].flatMap(readManifests) : [];
const workloads = all.flatMap((manifest) => {
  const pod = podOf(manifest);
  return pod === undefined ? [] : [{ where: `${manifest.kind} ${manifest.metadata.name}`, manifest, pod, container: pod.spec.containers[0] }];
});
const receivers = workloads.filter(({ pod }) => pod.metadata.labels['app.kubernetes.io/component'] === 'receiver');
const [embedded, clustered] = receivers;

describe('the manifests', { skip: !hasYaml && NO_YAML }, () => {
  test('are what the schemas of every version of Kubernetes from 1.27 on have', {
    skip: VERSIONS.length === 0 && 'KUBERNETES_SCHEMAS names no folder with the schemas of Kubernetes: .ci/run fetches one',
  }, (t) => {
    const supported = VERSIONS.filter((version) => version.localeCompare('1.27', 'en', { numeric: true }) >= 0);
    assert.ok(supported.length >= 10 && all.length >= 12);
    for (const version of supported) for (const manifest of all) assert.deepEqual(faultsOf(manifest, version), [], version);
    const mistyped = { ...embedded?.manifest, spec: { ...embedded?.manifest.spec, replicas: '1', podManagmentPolicy: 'Parallel' } } as unknown as Manifest;
    assert.deepEqual(faultsOf(mistyped, supported.at(-1) ?? ''),
      ['StatefulSet.spec.replicas is no integer or null', 'StatefulSet.spec.podManagmentPolicy is unknown']);
    t.diagnostic(`${all.length} manifests, Kubernetes ${supported[0]} to ${supported.at(-1)}`);
  });

  test('set variables that the service reads, and every file is one of the volume', () => {
    const known = knownVariables();
    for (const { where, container, pod } of workloads) {
      for (const { name } of container.env) assert.ok(known.has(name), `${where}: ${name}`);
      const volumes = [...pod.spec.volumes.map(({ name }) => name), 'data'];
      for (const { name, subPath } of container.volumeMounts) {
        assert.ok(volumes.includes(name), `${where}: ${name}`);
        // The kubelet never renews such a file.
        assert.equal(subPath, undefined);
      }
      for (const { value } of container.env.filter(({ name }) => name.endsWith('_FILE'))) {
        assert.ok(READ_ME.includes(basename(value)), `${where}: the README does not make ${value}`);
      }
    }
  });

  test('are of one namespace, which wants all walls, and each pod has them', () => {
    const [namespace] = all;
    assert.deepEqual([namespace?.kind, namespace?.metadata.labels], ['Namespace', { 'pod-security.kubernetes.io/enforce': 'restricted' }]);
    for (const { kind, metadata } of all.slice(1)) assert.equal(metadata.namespace, namespace?.metadata.name, `${kind} ${metadata.name}`);
    assert.equal(workloads.length, 4);
    for (const { where, pod: { spec }, container } of workloads) {
      const { fsGroupChangePolicy: _policy, ...walls } = { fsGroupChangePolicy: '', ...spec.securityContext };
      assert.deepEqual(walls, { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } }, where);
      assert.deepEqual(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }, where);
      assert.deepEqual([spec.automountServiceAccountToken, spec.enableServiceLinks], [false, false], where);
      assert.ok(container.resources?.requests['memory'] && container.resources.limits['memory'], where);
    }
  });

  test('find each other: selectors, ports, claims, the Secret', () => {
    for (const { kind, metadata, spec } of all.filter(({ spec }) => spec?.selector ?? spec?.podSelector)) {
      const labels = kind === 'Service' ? spec.selector : (spec.selector ?? spec.podSelector)?.matchLabels;
      for (const { pod, where } of receivers) for (const [name, value] of Object.entries(labels ?? {})) assert.equal(pod.metadata.labels[name], value, `${kind} ${metadata.name}, ${where}`);
    }
    for (const { container, pod } of receivers) {
      const ports = container.ports?.map(({ name }) => name) ?? [];
      const asked = all.flatMap(({ spec }) => [...(spec?.ports ?? []).map(({ targetPort }) => targetPort), ...(spec?.ingress ?? []).flatMap((rule) => rule.ports.map(({ port }) => port))]);
      assert.ok(asked.length >= 4);
      for (const name of asked) assert.ok(ports.includes(name), name);
      assert.ok(READ_ME.includes(`create secret generic ${pod.spec.volumes.find(({ secret }) => secret)?.secret?.secretName} `));
    }
    assert.ok(all.some(({ kind, metadata }) => kind === 'Service' && metadata.name === embedded?.manifest.spec.serviceName));
    const [claim] = embedded?.manifest.spec.volumeClaimTemplates ?? [];
    const backup = workloads.find(({ pod }) => pod.metadata.labels['app.kubernetes.io/component'] === 'backup');
    assert.equal(backup?.pod.spec.volumes[0]?.persistentVolumeClaim?.claimName, `${claim?.metadata.name}-${embedded?.manifest.metadata.name}-0`);
    assert.equal(embedded?.manifest.spec.replicas, 1);
  });

  test('wait for the end of a pod as long as the service takes for it', () => {
    for (const { where, container, pod } of receivers) {
      const delayMs = Number(container.env.find(({ name }) => name === 'SHUTDOWN_DELAY_MS')?.value ?? 0);
      assert.ok((pod.spec.terminationGracePeriodSeconds ?? 0) * 1000 >= delayMs + 8000 + 2000, where);
    }
  });
});

const [FIRST, SECOND] = ['the first secret of the pod', 'the second secret of the pod'];
const CREDENTIALS = {
  'webhook-secret': `${FIRST}\n`, 'webhook-secret-previous': `${FIRST}\n`, 'read-token': 'a-token-for-readers\n', 'metrics-token': 'a-token-for-metrics\n',
};

/** Asks as a kubelet does, by the probes of the manifest. */
async function probe({ container }: (typeof receivers)[number], { server }: Pod): Promise<(number | undefined)[]> {
  const { port, private_port } = await server.line('listening');
  const ports: Record<string, unknown> = { public: port, private: private_port };
  const { startupProbe, livenessProbe, readinessProbe } = container;
  return Promise.all([startupProbe, livenessProbe, readinessProbe].map(async (one) => {
    const answer = await ask(`http://127.0.0.1:${ports[one?.httpGet.port ?? '']}${one?.httpGet.path}`);
    return answer.status;
  }));
}

async function send(url: string, id: string, secret: string): Promise<number> {
  const body = JSON.stringify(message({ message_id: id }));
  return (await ask(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body, secret) } })).status;
}

/** Runs what a Job of this kind does, and returns the event of its last line. */
function runJobOf(kind: string, volumes: ReturnType<typeof mountVolumes>, edit: (argument: string) => string = (argument) => argument): unknown {
  const found = workloads.find(({ manifest }) => manifest.kind === kind);
  assert.ok(found?.container.command);
  return runJob(found.container, volumes, found.container.command.map(edit))['event'];
}

describe('a pod of the StatefulSet', { skip: !hasYaml ? NO_YAML : noPods }, () => {
  test('starts behind all its walls, is ready, takes a rotated secret without a shell, is backed up beside it, and restored', async (t) => {
    assert.ok(embedded);
    const backups = { name: 'backups', mountPath: '/backups' };
    const volumes = mountVolumes(t, { ...embedded.container, volumeMounts: [...embedded.container.volumeMounts, backups] });
    const { credentials = '' } = volumes.folders;
    mountSecret(credentials, CREDENTIALS);
    const pod = startPod(t, embedded.container, volumes);
    const url = await pod.server.url();
    await waitFor('ready', async () => (await probe(embedded, pod)).every((status) => status === 200));
    assert.equal(await send(url, 'm1', FIRST), 200);

    mountSecret(credentials, { ...CREDENTIALS, 'webhook-secret': `${SECOND}\n` });
    const [, script = ''] = /-- \/nodejs\/bin\/node -e "(process\.kill[^"]+)"/.exec(READ_ME) ?? [];
    await pod.exec(process.execPath, '-e', script);
    await pod.server.line('credentials_reloaded');
    assert.deepEqual([await send(url, 'm2', SECOND), await send(url, 'm3', FIRST)], [200, 200]);

    assert.equal(runJobOf('CronJob', volumes), 'backed_up');
    const [backup = ''] = readdirSync(volumes.folders['backups'] ?? '');
    assert.equal(await send(url, 'm4', SECOND), 200);
    const restore = () => runJobOf('Job', volumes, (argument) => argument.replace(/[^/]+\.db$/, backup));
    assert.equal(restore(), 'restore_refused');
    await pod.exec(process.execPath, '-e', 'process.kill(1)');
    await pod.server.ended;
    assert.equal(restore(), 'restored');
    const again = startPod(t, embedded.container, volumes);
    const { private_port } = await again.server.line('listening');
    const listed = await ask(`http://127.0.0.1:${private_port}/messages`, { headers: { Authorization: 'Bearer a-token-for-readers' } });
    assert.deepEqual(JSON.parse(listed.body).items.map((item: { message_id: string }) => item.message_id), ['m1', 'm2', 'm3']);
  });
});

describe('a pod of the Deployment', { skip: !hasYaml ? NO_YAML : noPods || (!hasOpenssl && 'openssl is not installed here') }, () => {
  test('is live and not ready without its PostgreSQL, and ready with it', { skip: !isInstalled && NOT_INSTALLED }, async (t) => {
    assert.ok(clustered);
    const made = makeCredentials(t);
    const volumes = mountVolumes(t, clustered.container);
    const secret = (name: string) => readFileSync(join(made, 'receiver', name), 'utf8');
    mountSecret(volumes.folders['credentials'] ?? '', { ...CREDENTIALS, 'database-password': secret('database-password'), 'ca.pem': secret('ca.pem') });
    const shipped = clustered.container.env.find(({ name }) => name === 'DATABASE_URL')?.value ?? '';
    const on = (port: number) => ({ DATABASE_URL: withFolders(shipped, clustered.container, volumes.folders).replace(/@[^/]+/, `@localhost:${port}`) });
    const lost = startPod(t, clustered.container, volumes, on(await freePort()));
    assert.deepEqual(await probe(clustered, lost), [200, 200, 503]);
    const postgres = await startInboxDatabase(t, made);
    const pod = startPod(t, clustered.container, volumes, on(postgres.port));
    await waitFor('ready', async () => (await probe(clustered, pod)).every((status) => status === 200));
    assert.equal(await send(await pod.server.url(), 'm1', FIRST), 200);
  });
});
