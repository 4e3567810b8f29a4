/** The table of the reference program, whose files are upgraded in place. */
export const REFERENCE_SCHEMA = `CREATE TABLE messages(id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE NOT NULL,
  from_number TEXT NOT NULL, to_number TEXT NOT NULL, ts TEXT NOT NULL, text TEXT NULL)`;
