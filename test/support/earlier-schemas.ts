/** Files of earlier versions of this service, by their version: what each has made of one of the reference schema that holds one message. */
import { REFERENCE_SCHEMA } from './reference-schema.ts';

const MESSAGES = `${REFERENCE_SCHEMA};
  ALTER TABLE messages ADD COLUMN instant TEXT;
  ALTER TABLE messages ADD COLUMN received_at INTEGER;
  CREATE INDEX messages_by_instant ON messages(instant, message_id);
  INSERT INTO messages VALUES (1, 'a', '+12', '+13', '2025-01-15T10:00:00Z', 'text', '2025-01-15T10:00:00', 1736935200000);
  PRAGMA application_id = 0x77686962`;

export const EARLIER_SCHEMAS: Readonly<Record<1 | 2 | 3, string>> = {
  1: `${MESSAGES};
    CREATE INDEX messages_by_sender ON messages(from_number, instant, message_id);
    CREATE TABLE senders(from_number TEXT PRIMARY KEY NOT NULL, messages INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX senders_by_messages ON senders(messages DESC, from_number);
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), messages INTEGER NOT NULL, senders INTEGER NOT NULL, probed_at INTEGER NOT NULL
    );
    INSERT INTO senders VALUES ('+12', 1);
    INSERT INTO inbox VALUES (1, 1, 1, 0);
    PRAGMA user_version = 1`,
  2: `${MESSAGES};
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), generation TEXT NOT NULL, edits INTEGER NOT NULL, probed_at INTEGER NOT NULL
    );
    INSERT INTO inbox VALUES (1, '0123456789abcdef', 0, 0);
    CREATE TRIGGER count_deletions AFTER DELETE ON messages BEGIN UPDATE inbox SET edits = edits + 1; END;
    CREATE TRIGGER count_updates AFTER UPDATE OF id, message_id, from_number, to_number, ts, text ON messages BEGIN
      UPDATE inbox SET edits = edits + 1;
      UPDATE messages SET instant = NULL WHERE id = NEW.id;
    END;
    PRAGMA user_version = 2`,
  3: `${MESSAGES};
    CREATE TABLE generations(number INTEGER PRIMARY KEY, generation TEXT UNIQUE NOT NULL, begins_after INTEGER NOT NULL);
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), messages INTEGER, edits INTEGER NOT NULL, probed_at INTEGER NOT NULL
    );
    INSERT INTO generations VALUES (1, '0123456789abcdef', 0);
    INSERT INTO inbox VALUES (1, 1, 0, 0);
    CREATE TRIGGER count_deletions AFTER DELETE ON messages BEGIN
      UPDATE inbox SET messages = messages - 1, edits = edits + 1;
    END;
    CREATE TRIGGER count_updates AFTER UPDATE OF id, message_id, from_number, to_number, ts, text ON messages BEGIN
      UPDATE inbox SET edits = edits + 1;
      UPDATE messages SET instant = NULL WHERE id = NEW.id;
    END;
    CREATE TRIGGER notice_insertions AFTER INSERT ON messages WHEN NEW.instant IS NULL BEGIN
      UPDATE inbox SET messages = NULL, edits = edits + 1;
    END;
    PRAGMA user_version = 3`,
};
