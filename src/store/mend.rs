//! Forgetting what is wrong, so that the next run makes it anew. Nothing is repaired here that can be read again.

use floodmark_operators::keys::{ChunkHash, PathKey};
use rusqlite::{Transaction, TransactionBehavior, params};

use super::codec::{Sql, signed};
use super::error::{Context, StoreError};
use super::{Store, set_meta};
use crate::fault;

/// What the next run must read or embed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Files whose rows can't be believed.
    pub files: Vec<PathKey>,
    /// Texts whose vector can't be believed.
    pub texts: Vec<ChunkHash>,
}

/// Files that have more or fewer segments than they should.
const UNEVEN: &str = "SELECT f.path_id FROM files f WHERE f.removed IS NULL AND f.state = 'indexed' AND f.segments <> \
     (SELECT count(*) FROM segments s WHERE s.path_id = f.path_id AND s.removed IS NULL \
      AND s.slot >= f.generation << 31 AND s.slot < (f.generation << 31) + f.segments)";

/// Segments that belong to no file, or to no version of one that is whole.
const STRAY: &str = "removed IS NULL AND NOT EXISTS (SELECT 1 FROM files f WHERE f.path_id = segments.path_id \
     AND f.removed IS NULL AND (f.state <> 'indexed' OR (segments.slot >= f.generation << 31 \
     AND segments.slot < (f.generation << 31) + f.segments)))";

/// Contents that have lost documents, chunks or failures.
const HOLLOW: &str = "documents <> (SELECT count(*) FROM documents d WHERE d.content_id = contents.id) \
     OR chunks <> (SELECT count(*) FROM chunks c WHERE c.content_id = contents.id) \
     OR failures <> (SELECT count(*) FROM failures f WHERE f.content_id = contents.id)";

impl Store {
    /// Forgets what is in doubt, and what the store itself can see to be wrong, in one transaction and an epoch of its
    /// own. What is in the index stays there until the next run has read it again; vectors that are still good are kept.
    ///
    /// # Errors
    /// As SQLite says; nothing is changed then.
    pub fn forget(&mut self, doubts: &Doubts) -> Result<(), StoreError> {
        let path = self.path.clone();
        let doing = "mend";
        let upper = self.upper;
        fault::point("store.mend.begin").context(doing, &path)?;
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .context(doing, &path)?;
        forget(&tx, doubts, signed(upper), self.model)
            .and_then(|()| set_meta(&tx, "upper", signed(upper + 1)))
            .and_then(|()| {
                tx.execute(
                    "INSERT INTO epochs VALUES (?, ?)",
                    params![signed(upper), (self.clock)()],
                )
            })
            .and_then(|_| {
                fault::pass("store.mend.before");
                tx.commit()
            })
            .context(doing, &path)?;
        fault::point("store.mend.after").context(doing, &path)?;
        self.upper = upper + 1;
        Ok(())
    }
}

fn forget(tx: &Transaction<'_>, doubts: &Doubts, epoch: i64, model: i64) -> rusqlite::Result<()> {
    tx.execute(
        &format!("UPDATE segments SET removed = ? WHERE {STRAY}"),
        [epoch],
    )?;
    // Another key: today's recipe does not lead to this content any more, and so not to what hangs on it.
    tx.execute(
        &format!("UPDATE contents SET key = randomblob(16) WHERE {HOLLOW}"),
        [],
    )?;
    let mut unlike = tx.prepare(
        "UPDATE contents SET key = randomblob(16) WHERE id IN \
         (SELECT content_id FROM segments WHERE path_id = ? AND removed IS NULL)",
    )?;
    let mut unseen = tx.prepare(
        "UPDATE files SET dev = NULL, ino = NULL, size = NULL, mtime_ns = NULL, ctime_ns = NULL, \
         content = CASE WHEN content IS NULL THEN NULL ELSE randomblob(16) END \
         WHERE path_id = ? AND removed IS NULL",
    )?;
    let mut forget_file = |path_id: i64| -> rusqlite::Result<()> {
        unlike.execute([path_id])?;
        unseen.execute([path_id]).map(|_| ())
    };
    let uneven: Vec<i64> = tx
        .prepare(UNEVEN)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    uneven.into_iter().try_for_each(&mut forget_file)?;
    for &key in &doubts.files {
        if let Some(path_id) = super::file::known_path_id(tx, key)? {
            forget_file(path_id)?;
        }
    }
    let mut vector = tx.prepare(
        "DELETE FROM embeddings WHERE model_id = ? AND text_id = (SELECT id FROM texts WHERE hash = ?)",
    )?;
    // A text is in the index only with a vector: it leaves, and joins again when it is embedded anew.
    let mut leave =
        tx.prepare("DELETE FROM live WHERE text_id = (SELECT id FROM texts WHERE hash = ?)")?;
    for &hash in &doubts.texts {
        vector.execute(params![model, Sql(hash)])?;
        leave.execute([Sql(hash)])?;
    }
    // A changelog that does not add up misleads every view: it is made to end where the index stands.
    tx.execute(
        "INSERT INTO changelog SELECT ?1, text_id, l - s FROM (SELECT t.id AS text_id, \
         EXISTS (SELECT 1 FROM live v WHERE v.text_id = t.id) AS l, \
         ifnull((SELECT sum(op) FROM changelog c WHERE c.text_id = t.id), 0) AS s FROM texts t) \
         WHERE l - s IN (-1, 1)",
        [epoch],
    )?;
    Ok(())
}
