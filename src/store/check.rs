//! Is the store consistent with itself? Each answer has a stable name and the values that differ.

use std::fmt;
use std::path::Path;

use floodmark_operators::keys::ChunkHash;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::codec::{Sql, decode_vector, vector_fault, vector_sum};
use super::error::{Context, StoreError};
use super::meta;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// A stable name.
    pub name: &'static str,
    /// What differs: a key, a path, a message.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

/// Texts that the live segments have, and the model has not refused. An index would not help: all of it is read.
const DESIRED: &str = "SELECT DISTINCT c.text_id FROM segments s JOIN chunks c ON c.content_id = s.content_id \
                       WHERE s.removed IS NULL AND c.text_id NOT IN (SELECT text_id FROM refusals \
                       WHERE model_id = (SELECT value FROM meta WHERE key = 'model'))";

/// A name, and a query whose rows are the differences: their first column says what.
const QUERIES: &[(&str, &str)] = &[
    (
        "missing-from-index",
        "SELECT lower(hex(hash)) FROM texts WHERE id IN ({desired}) AND id NOT IN (SELECT text_id FROM live)",
    ),
    (
        "left-in-index",
        "SELECT lower(hex(hash)) FROM texts WHERE id IN (SELECT text_id FROM live) AND id NOT IN ({desired})",
    ),
    (
        "changelog-differs-from-index",
        "SELECT lower(hex(t.hash)) || ': changes sum to ' || g.sum || ', in the index: ' || g.live FROM \
         (SELECT text_id, sum(op) AS sum, text_id IN (SELECT text_id FROM live) AS live FROM changelog \
          GROUP BY text_id) g JOIN texts t ON t.id = g.text_id WHERE g.sum <> g.live \
         UNION ALL SELECT lower(hex(t.hash)) || ': no change says that it joined' FROM live l \
         JOIN texts t ON t.id = l.text_id WHERE l.text_id NOT IN (SELECT text_id FROM changelog)",
    ),
    (
        "text-missing",
        "SELECT lower(hex(hash)) FROM texts WHERE id IN (SELECT text_id FROM live) AND text IS NULL",
    ),
    (
        "epoch-beyond-upper",
        "SELECT 'epoch ' || e || ' in ' || t FROM (SELECT max(max(added), ifnull(max(removed), 0)) AS e, 'files' AS t FROM files \
         UNION ALL SELECT max(max(added), ifnull(max(removed), 0)), 'segments' FROM segments \
         UNION ALL SELECT max(epoch), 'changelog' FROM changelog \
         UNION ALL SELECT max(added), 'live' FROM live UNION ALL SELECT max(epoch), 'epochs' FROM epochs) \
         WHERE e >= (SELECT value FROM meta WHERE key = 'upper')",
    ),
    (
        "upper-beyond-commits",
        "SELECT 'upper is ' || value FROM meta WHERE key = 'upper' AND value > max(\
         (SELECT ifnull(max(epoch), 0) + 1 FROM epochs), (SELECT value FROM meta WHERE key = 'model_since'))",
    ),
    (
        "segments-incomplete",
        "SELECT p.path || ': ' || n || ' of ' || f.segments || ' segments' FROM (SELECT f.path_id, f.segments, \
         (SELECT count(*) FROM segments s WHERE s.path_id = f.path_id AND s.removed IS NULL \
          AND s.slot >= f.generation << 31 AND s.slot < (f.generation << 31) + f.segments) AS n, \
         (SELECT count(*) FROM segments s WHERE s.path_id = f.path_id AND s.removed IS NULL) AS has \
         FROM files f WHERE f.removed IS NULL AND f.state = 'indexed') f JOIN paths p ON p.id = f.path_id \
         WHERE n <> f.segments OR has <> n",
    ),
    (
        "segment-without-file",
        "SELECT p.path || ': slot ' || s.slot FROM segments s JOIN paths p ON p.id = s.path_id \
         WHERE s.removed IS NULL AND NOT EXISTS \
         (SELECT 1 FROM files f WHERE f.path_id = s.path_id AND f.removed IS NULL)",
    ),
    (
        "two-versions-live",
        "SELECT p.path FROM files f JOIN paths p ON p.id = f.path_id WHERE f.removed IS NULL \
         GROUP BY f.path_id HAVING count(*) > 1",
    ),
    (
        "content-counts-differ",
        "SELECT lower(hex(key)) FROM contents k WHERE \
         documents <> (SELECT count(*) FROM documents d WHERE d.content_id = k.id) \
         OR chunks <> (SELECT count(*) FROM chunks c WHERE c.content_id = k.id) \
         OR failures <> (SELECT count(*) FROM failures f WHERE f.content_id = k.id)",
    ),
];

pub(super) fn check(connection: &Connection, path: &Path) -> Result<Vec<Difference>, StoreError> {
    let mut found = Vec::new();
    let mut all = || {
        pages(connection, &mut found)?;
        references(connection, &mut found)?;
        for (name, sql) in QUERIES {
            let mut statement = connection.prepare(&sql.replace("{desired}", DESIRED))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                found.push(Difference {
                    name,
                    what: row.get(0)?,
                });
            }
        }
        texts(connection, &mut found)?;
        vectors(connection, &mut found)
    };
    all().context("check", path)?;
    Ok(found)
}

fn pages(connection: &Connection, found: &mut Vec<Difference>) -> rusqlite::Result<()> {
    // Not the quick one: that an index leads to the row which it names is the point.
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let what: String = row.get(0)?;
        if what != "ok" {
            found.push(Difference {
                name: "pages-damaged",
                what,
            });
        }
    }
    Ok(())
}

fn references(connection: &Connection, found: &mut Vec<Difference>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, to): (String, String) = (row.get(0)?, row.get(2)?);
        let what = format!("a row of {table} refers to a row of {to} that is not there");
        found.push(Difference {
            name: "reference-dangling",
            what,
        });
    }
    Ok(())
}

/// Texts are addressed by what they say.
fn texts(connection: &Connection, found: &mut Vec<Difference>) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT hash, text FROM texts WHERE text IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let hash: ChunkHash = row.get::<_, Sql<_>>(0)?.0;
        let said = ChunkHash::of(&[row.get_ref(1)?.as_bytes()?]);
        if said != hash {
            found.push(Difference {
                name: "text-differs",
                what: format!("{hash}: its text has the hash {said}"),
            });
        }
    }
    Ok(())
}

fn vectors(connection: &Connection, found: &mut Vec<Difference>) -> rusqlite::Result<()> {
    let model = meta(connection, "model")?;
    let dimension: i64 = connection.query_row(
        "SELECT dimension FROM models WHERE id = ?",
        [model],
        |row| row.get(0),
    )?;
    let mut vector = vec![0.0; usize::try_from(dimension).unwrap_or(0)];
    let mut statement = connection.prepare(
        "SELECT lower(hex(t.hash)), e.vector, e.sum, l.text_id FROM live l JOIN texts t ON t.id = l.text_id \
         LEFT JOIN embeddings e ON e.model_id = ? AND e.text_id = l.text_id ORDER BY l.text_id",
    )?;
    let mut rows = statement.query([model])?;
    while let Some(row) = rows.next()? {
        let fault = match row.get_ref(1)? {
            ValueRef::Blob(bytes) if decode_vector(bytes, &mut vector) => {
                let whole = Some(vector_sum(model, row.get(3)?, bytes)) == row.get(2)?;
                let torn = (!whole).then(|| "its sum is not the one that was written".to_owned());
                vector_fault(&vector, vector.len()).or(torn)
            }
            ValueRef::Blob(bytes) => Some(format!(
                "it has {} bytes, not {}",
                bytes.len(),
                vector.len() * 4
            )),
            _ => Some("it is missing".to_owned()),
        };
        if let Some(fault) = fault {
            let hash: String = row.get(0)?;
            found.push(Difference {
                name: "vector-unfit",
                what: format!("{hash}: {fault}"),
            });
        }
    }
    Ok(())
}
