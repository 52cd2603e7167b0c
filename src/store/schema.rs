//! The tables, each column said in words, and how an older store becomes a newer one.
//!
//! The comments travel into the database: `sqlite3 store.sqlite .schema` shows them.
//!
//! Two kinds of tables: those with `added` and `removed` epochs are history (live at epoch t: `added <= t` and
//! `removed` null or `> t`); `contents` to `embeddings` are memory: what was once read or embedded is kept, so that
//! what comes back costs nothing.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::codec::vector_sum;
use crate::fault;

/// "FLDM": this SQLite file is one of ours.
pub(super) const APPLICATION_ID: i64 = 0x464C_444D;

/// The schema that this program writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Statements, and what can't be said in them.
struct Step(
    &'static str,
    Option<fn(&Transaction<'_>) -> rusqlite::Result<()>>,
);

/// Step `i` leads from version `i` to `i + 1`. A step that was released is never edited: a store that ran it exists.
const MIGRATIONS: &[Step] = &[Step(V1, None), Step(V2, None), Step(V3, Some(add_sums))];

/// Brings a store of version `found` to [`VERSION`] in one transaction: a crash leaves what was, and a reader beside it sees what was
/// or all of it.
pub(super) fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(found).unwrap_or(0);
    if done >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    fault::pass("store.migrate.begin");
    for Step(statements, more) in &MIGRATIONS[done..] {
        transaction.execute_batch(statements)?;
        if let Some(more) = more {
            more(&transaction)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    fault::pass("store.migrate.before");
    transaction.commit()?;
    fault::pass("store.migrate.after");
    Ok(())
}

const V1: &str = "
CREATE TABLE meta (                -- facts about the whole store
  key   TEXT PRIMARY KEY,          -- 'upper': every epoch below it is durable, and nothing at or above it is here
                                   -- 'generation': how often the store was opened for writing; the last opener's may commit
                                   -- 'model': models.id of the model whose vectors are in the index
                                   -- 'model_since': the epoch from which on it is that model
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE models (              -- whoever made a vector
  id        INTEGER PRIMARY KEY,
  name      TEXT NOT NULL UNIQUE,  -- name and hash of everything that decides what a vector is
  dimension INTEGER NOT NULL       -- numbers in a vector
) STRICT;

CREATE TABLE roots (               -- folders that were ever watched
  id   INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE        -- absolute; what is not UTF-8 as \\xNN, a backslash as two
) STRICT;

CREATE TABLE paths (               -- files that were ever seen
  id      INTEGER PRIMARY KEY,
  key     BLOB NOT NULL,           -- 16 bytes: the path key of the dataflow
  root_id INTEGER NOT NULL REFERENCES roots,
  path    TEXT NOT NULL            -- below the root; escaped like roots.path
) STRICT;
CREATE UNIQUE INDEX paths_by_key ON paths (key);

CREATE TABLE files (               -- where a file stands, and stood
  path_id    INTEGER NOT NULL REFERENCES paths,
  added      INTEGER NOT NULL,     -- epoch from which on it stood so
  removed    INTEGER,              -- epoch from which on it no longer did; null: it does now
  state      TEXT NOT NULL CHECK (state IN ('indexed', 'partial', 'retrying', 'dead')),
  stale      INTEGER NOT NULL,     -- 1: an older version of it is in the index, because the newer can't be read
  dev        INTEGER,              -- what stat said of the bytes that were read: device,
  ino        INTEGER,              --   inode,
  size       INTEGER,              --   bytes,
  mtime_ns   INTEGER,              --   last change of the bytes, ns since 1970,
  ctime_ns   INTEGER,              --   last change of bytes or attributes, ns since 1970
  format     TEXT,                 -- of the last version that is in the index as a whole: how it was read,
  content    BLOB,                 --   16 bytes: hash over the hashes of its segments,
  generation INTEGER,              --   its slots are generation << 31 | number,
  segments   INTEGER,              --   number of its segments
  resume     TEXT,                 -- JSON: of the version that is being read, where to go on
  attempts   INTEGER,              -- tries so far that failed
  after_ms   INTEGER,              -- retrying: wait this long
  reason     TEXT,                 -- retrying or dead: stable name of the reason,
  message    TEXT,                 --   what happened,
  advice     TEXT,                 --   what to do about it,
  record     INTEGER,              --   the record, from 0 in the file,
  line       INTEGER,              --   the line, from 1 in the file
  PRIMARY KEY (path_id, added)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_live ON files (state, stale) WHERE removed IS NULL;

CREATE TABLE contents (            -- pieces of bytes that were read, by what they contain and how they were read
  id        INTEGER PRIMARY KEY,
  key       BLOB NOT NULL,         -- 16 bytes: hash, format and recipe
  hash      BLOB NOT NULL,         -- 16 bytes: of the bytes alone
  bytes     INTEGER NOT NULL,
  format    TEXT NOT NULL,
  documents INTEGER NOT NULL,      -- rows of it in documents,
  chunks    INTEGER NOT NULL,      --   in chunks,
  failures  INTEGER NOT NULL       --   in failures
) STRICT;
CREATE UNIQUE INDEX contents_by_key ON contents (key);

CREATE TABLE segments (            -- which content lies, and lay, at which place of a file
  path_id     INTEGER NOT NULL REFERENCES paths,
  slot        INTEGER NOT NULL,    -- generation << 31 | number
  added       INTEGER NOT NULL,    -- epoch from which on it lay there
  removed     INTEGER,             -- epoch from which on it no longer did; null: it does now
  content_id  INTEGER NOT NULL REFERENCES contents,
  byte_base   INTEGER NOT NULL,    -- position in the file = this + position in the content
  record_base INTEGER NOT NULL,    -- records of the file before it
  line_base   INTEGER NOT NULL,    -- lines of the file before it
  PRIMARY KEY (path_id, slot, added)
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_live_by_content ON segments (content_id) WHERE removed IS NULL;

CREATE TABLE documents (           -- records of a content, or the whole of it
  content_id INTEGER NOT NULL REFERENCES contents,
  ord        INTEGER NOT NULL,     -- from 0
  id         TEXT,                 -- the record's own, if it has one
  record     INTEGER NOT NULL,     -- record number in the content
  title      TEXT,
  metadata   TEXT NOT NULL,        -- JSON: everything that is neither text nor id
  start      INTEGER NOT NULL,     -- first byte in the content
  end        INTEGER NOT NULL,     -- one past the last
  PRIMARY KEY (content_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE texts (               -- chunk texts; the id is the label of the vector and of the keyword view
  id   INTEGER PRIMARY KEY,
  hash BLOB NOT NULL,              -- 16 bytes
  text TEXT                        -- null: a chunk has it, and it was withdrawn before it was embedded
) STRICT;
CREATE UNIQUE INDEX texts_by_hash ON texts (hash);

CREATE TABLE chunks (              -- where a text lies in a document
  content_id INTEGER NOT NULL,
  document   INTEGER NOT NULL,     -- documents.ord
  ord        INTEGER NOT NULL,     -- from 0 in the document
  start      INTEGER NOT NULL,     -- first byte in the content
  end        INTEGER NOT NULL,     -- one past the last
  text_id    INTEGER NOT NULL REFERENCES texts,
  PRIMARY KEY (content_id, document, ord),
  FOREIGN KEY (content_id, document) REFERENCES documents (content_id, ord)
) STRICT, WITHOUT ROWID;
CREATE INDEX chunks_by_text ON chunks (text_id);

CREATE TABLE failures (            -- records of a content that can't be indexed
  content_id INTEGER NOT NULL REFERENCES contents,
  ord        INTEGER NOT NULL,     -- from 0
  record     INTEGER,              -- record number in the content
  line       INTEGER,              -- line in the content, from 1
  reason     TEXT NOT NULL,        -- stable name
  message    TEXT NOT NULL,        -- what happened
  advice     TEXT NOT NULL,        -- what to do about it
  PRIMARY KEY (content_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE embeddings (          -- what a model made of a text: written once, never changed
  model_id INTEGER NOT NULL REFERENCES models,
  text_id  INTEGER NOT NULL REFERENCES texts,
  vector   BLOB NOT NULL           -- f32, little-endian, unit L2 norm
) STRICT;
CREATE UNIQUE INDEX embeddings_by_text ON embeddings (model_id, text_id);

CREATE TABLE live (                -- texts that are in the index
  text_id INTEGER PRIMARY KEY REFERENCES texts,
  added   INTEGER NOT NULL         -- epoch from which on it is
) STRICT;

CREATE TABLE changelog (           -- how the index changed: what the views follow
  epoch   INTEGER NOT NULL,
  text_id INTEGER NOT NULL REFERENCES texts,
  op      INTEGER NOT NULL CHECK (op IN (-1, 1)),  -- 1: joined, -1: left
  PRIMARY KEY (epoch, text_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (              -- commits, for display only: no order comes from a clock
  epoch           INTEGER PRIMARY KEY,  -- the last that the commit made durable
  committed_at_ms INTEGER NOT NULL      -- ms since 1970
) STRICT;

INSERT INTO meta VALUES ('upper', 1), ('generation', 0), ('model', 0), ('model_since', 1);
";

/// Texts that the model refused.
const V2: &str = "
CREATE TABLE refusals (            -- texts that a model has no vector for: they stay out of the index
  model_id INTEGER NOT NULL REFERENCES models,
  text_id  INTEGER NOT NULL REFERENCES texts,
  since    INTEGER NOT NULL,       -- epoch in which it was refused for the first time
  attempts INTEGER NOT NULL,       -- how often it was
  again    INTEGER NOT NULL,       -- 1: the next run tries once more
  reason   TEXT NOT NULL,          -- stable name
  message  TEXT NOT NULL,          -- what happened
  advice   TEXT NOT NULL,          -- what to do about it
  PRIMARY KEY (model_id, text_id)
) STRICT, WITHOUT ROWID;
";

/// SQLite's pages have no checksums. Texts are addressed by their hash; vectors get a sum of their own.
const V3: &str = "
ALTER TABLE embeddings ADD COLUMN
  sum /* 64 bits of a hash over model, text and vector: a vector that was damaged on the disk is not believed */ INTEGER;
";

fn add_sums(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut all = transaction.prepare("SELECT rowid, model_id, text_id, vector FROM embeddings")?;
    let mut write = transaction.prepare("UPDATE embeddings SET sum = ? WHERE rowid = ?")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let sum = vector_sum(row.get(1)?, row.get(2)?, row.get_ref(3)?.as_blob()?);
        write.execute(params![sum, row.get::<_, i64>(0)?])?;
    }
    Ok(())
}
