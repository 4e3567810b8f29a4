-- The tables of webhook-inbox, for an owner to make them where its receivers may not. Run it once, on an empty database in UTF-8:
--   psql --single-transaction --set ON_ERROR_STOP=1 --file schema.sql DATABASE
-- Without pg_trgm leave out the last two statements: a search then looks at every text.
-- Then let the receivers' user read and write them, and nothing else:
--   GRANT SELECT, INSERT, UPDATE, DELETE ON messages, senders, instants, arrivals, generations, inbox, remembered, erasures TO receiver;

CREATE TABLE messages(
  id bigint PRIMARY KEY,
  message_id text COLLATE "C" NOT NULL UNIQUE,
  from_number text COLLATE "C" NOT NULL,
  to_number text COLLATE "C" NOT NULL,
  ts text COLLATE "C" NOT NULL,
  text text COLLATE "C",
  instant text COLLATE "C" NOT NULL,
  received_at bigint
);

CREATE INDEX messages_by_instant ON messages(instant, message_id) INCLUDE (id);

CREATE INDEX messages_by_sender ON messages(from_number, instant, message_id) INCLUDE (id);

CREATE INDEX messages_by_receipt ON messages(received_at);

CREATE TABLE senders(
  from_number text COLLATE "C" PRIMARY KEY,
  messages bigint NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX senders_by_messages ON senders(messages DESC, from_number);

CREATE TABLE instants(
  characters smallint,
  prefix text COLLATE "C",
  messages bigint NOT NULL,
  PRIMARY KEY (characters, prefix)
) WITH (fillfactor = 70);

CREATE TABLE arrivals(minute bigint PRIMARY KEY, messages bigint NOT NULL) WITH (fillfactor = 70);

CREATE TABLE generations(
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  generation text COLLATE "C" NOT NULL UNIQUE,
  origin text NOT NULL,
  begins_after bigint NOT NULL
);

CREATE TABLE inbox(
  only_row smallint PRIMARY KEY CHECK (only_row = 1),
  schema_version integer NOT NULL,
  newest bigint NOT NULL,
  messages bigint NOT NULL,
  senders bigint NOT NULL,
  id_inner_key bytea NOT NULL,
  id_outer_key bytea NOT NULL
) WITH (fillfactor = 10);

INSERT INTO inbox
  WITH random AS MATERIALIZED (
    SELECT sha256(convert_to(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), 'UTF8'))
      || decode(repeat('00', 32), 'hex') AS key
  )
  SELECT 1, 1, 0, 0, 0,
    string_agg(set_byte(decode('00', 'hex'), 0, get_byte(key, place) # 54), '' ORDER BY place),
    string_agg(set_byte(decode('00', 'hex'), 0, get_byte(key, place) # 92), '' ORDER BY place)
  FROM random CROSS JOIN generate_series(0, 63) AS place;

CREATE TABLE remembered(hash bytea PRIMARY KEY, until bigint);

CREATE INDEX remembered_by_until ON remembered(until) WHERE until IS NOT NULL;

CREATE TABLE erasures(request_id text COLLATE "C" PRIMARY KEY, at bigint NOT NULL, messages bigint NOT NULL);

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE INDEX messages_by_text ON messages USING gin (lower(text) gin_trgm_ops);
