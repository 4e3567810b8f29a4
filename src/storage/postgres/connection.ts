import { randomBytes } from 'node:crypto';
import { createAnswerReader, type Answers, type Result, type Warning } from './answers.ts';
import { ConnectionFailed, endsConnection, PostgresError } from './failures.ts';
import { createLogin, type AuthenticationMessage, type Login } from './login.ts';
import {
  encodeBind, encodeDescribe, encodeExecute, encodeParse, encodeStartup, encodeSync, ProtocolViolation, type BackendMessage,
} from './protocol.ts';
import { createSession, type Session } from './session.ts';
import { openSocket, type Address } from './socket.ts';

export interface Target extends Address {
  readonly user: string;
  readonly database: string;
  /** Null where there is none. */
  readonly password: string | null;
}

export interface ConnectOptions {
  /** For all of it: finding the address, TCP, TLS and the login. */
  readonly timeoutMs: number;
  /** Called at each NOTIFY of a channel that the session listens to, while no statement runs or between its answers. */
  readonly notified?: (channel: string, payload: string) => void;
}

/** Parameters `$1`, `$2`, … as text: what type each has is left to the server. */
export interface Statement {
  readonly sql: string;
  /** Under which the server keeps it as long as the session lasts, so that it is planned once. Not behind a pooler: sessions change. */
  readonly name?: string;
  readonly parameters?: readonly (string | null)[];
}

export interface Ran {
  /** One for each statement, in their order. */
  readonly results: readonly Result[];
  /** What the server warned of meanwhile: a COMMIT that was not replicated shows nowhere else. */
  readonly warnings: readonly Warning[];
}

/** A session on one server. Whatever fails in it, every call settles, by its deadline at the latest. */
export interface Connection {
  /** Settings that the server reports, by name, kept up to date. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Of the server's process. */
  readonly processId: number;
  /** Resolves with the reason once the connection is of no use any more. Never rejects. */
  readonly closed: Promise<ConnectionFailed>;
  /**
   * Sends all statements in one write with one Sync, and resolves with their results once the server is ready again, in no transaction.
   * Where it is to be more than one transaction, or one of a certain kind, BEGIN and COMMIT are among the statements.
   *
   * Rejects with a PostgresError where the server refuses one: those after it are not run, and what it leaves open is rolled back. Rejects
   * with ConnectionFailed where the server ends the session (the cause says why), the connection is lost, or it is not done in `timeoutMs`:
   * it is closed then, as it is after an error for which `endsConnection` holds. One run at a time: rejects with an Error at once while
   * another is under way.
   */
  run(statements: readonly Statement[], timeoutMs: number): Promise<Ran>;
  /** Says goodbye, and resolves once the socket is closed, in a second at most. A run that is under way rejects. */
  close(): Promise<void>;
}

const APPLICATION_NAME = 'webhook-inbox';
const NONCE_BYTES = 24;

/** What is made of the messages of a login: the server's process id with the last. */
function createLoginReader(session: Session, login: Login): (message: BackendMessage) => number | undefined {
  let isLoggedIn = false;
  let processId = 0;

  function authenticate(message: AuthenticationMessage): void {
    const answer = login.answer(message);
    if (answer === null) isLoggedIn = true;
    else if (Buffer.isBuffer(answer)) session.send(answer);
    else answer.then(session.send, session.fail);
  }

  return (message) => {
    switch (message.type) {
      case 'ErrorResponse': throw new PostgresError(message.report);
      case 'NoticeResponse': return undefined;
      case 'AuthenticationOk':
      case 'AuthenticationSASL':
      case 'AuthenticationSASLContinue':
      case 'AuthenticationSASLFinal':
      case 'AuthenticationOther':
        authenticate(message);
        return undefined;
      case 'BackendKeyData':
        if (!isLoggedIn) break;
        processId = message.processId;
        return undefined;
      case 'ReadyForQuery':
        if (!isLoggedIn || message.status !== 'I' || session.parameters.get('client_encoding') !== 'UTF8') break;
        return processId;
    }
    throw new ProtocolViolation('the server sends a message that does not belong in a login');
  };
}

/** `kept`: the names of statements that the server has. */
function encodePipeline(statements: readonly Statement[], kept: ReadonlySet<string>): Buffer {
  const messages = statements.flatMap(({ sql, parameters = [], name = '' }) =>
    [...(kept.has(name) ? [] : [encodeParse(sql, name)]), encodeBind(parameters, name), encodeDescribe(), encodeExecute()]);
  return Buffer.concat([...messages, encodeSync()]);
}

const ROLLBACK = { sql: 'ROLLBACK' };

function createRunner(session: Session): Connection['run'] {
  const kept = new Set<string>();
  let isRunning = false;

  async function exchange(statements: readonly Statement[], deadline: number): Promise<Answers> {
    const pipeline = encodePipeline(statements, kept);
    const reader = createAnswerReader(statements.map(({ name = '' }) => ({
      isKept: kept.has(name), onParsed: () => void (name === '' || kept.add(name)),
    })));
    const answers = session.exchange(pipeline, deadline - performance.now(), reader.take);
    try {
      return await answers;
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'the connection is lost';
      throw new ConnectionFailed(reason, { cause: error, isOutcomeUnknown: reader.mayBeCommitted() });
    }
  }

  /** By itself, as whatever follows an error up to the next Sync is not run. Ends the connection where it does not succeed. */
  async function rollBack(deadline: number): Promise<void> {
    try {
      const { status } = await exchange([ROLLBACK], deadline);
      if (status !== 'I') session.fail(new ProtocolViolation('the server does not roll back'));
    } catch {
      // The connection is closed, and what led here says more.
    }
  }

  return async (statements, timeoutMs) => {
    if (isRunning) throw new Error('a connection runs one thing at a time');
    isRunning = true;
    try {
      const deadline = performance.now() + timeoutMs;
      const { results, warnings, error, status } = await exchange(statements, deadline);
      if (error !== null && endsConnection(error)) session.fail(error);
      else if (status !== 'I') await rollBack(deadline);
      if (error !== null) throw error;
      if (status !== 'I') throw new Error('the statements leave a transaction open');
      return { results, warnings };
    } finally {
      isRunning = false;
    }
  };
}

/**
 * Opens a session. Rejects with LoginRefused where somebody has to change something first, with a PostgresError where the server refuses,
 * otherwise with ConnectionFailed; nothing of it stays open then. Throws a TypeError where the user or the database has a NUL.
 */
export async function connect(target: Target, { timeoutMs, notified = () => {} }: ConnectOptions): Promise<Connection> {
  const deadline = performance.now() + timeoutMs;
  const { user, database, password } = target;
  const startup = encodeStartup({ user, database, client_encoding: 'UTF8', application_name: APPLICATION_NAME });
  const { socket, binding } = await openSocket(target, deadline);
  const session = createSession(socket, notified);
  const login = createLogin({ password, binding, nonce: randomBytes(NONCE_BYTES).toString('base64') });
  const processId = await session.exchange(startup, deadline - performance.now(), createLoginReader(session, login));
  const { parameters, closed, close } = session;
  return { parameters, processId, closed, run: createRunner(session), close };
}
