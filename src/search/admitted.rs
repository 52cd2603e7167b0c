//! The texts that pass a filter: made from the store, and given to both views before they look.

use floodmark_operators::keys::Epoch;
use serde_json::{Map, Value};

use crate::store::{Label, Piece, PieceDocument, Place, Snapshot, StoreError};

use super::filter::{DocumentFacts, Facts, Filter};

/// A set of texts: a bit for each label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    bits: Vec<u64>,
    len: usize,
}

impl Admitted {
    /// The texts that lie in a place which passes, at epoch `at`. Reads the list of files, and documents as far as the filter
    /// depends on them.
    ///
    /// # Errors
    /// As the store says.
    pub fn by(filter: &Filter, store: &Snapshot, at: Epoch) -> Result<Self, StoreError> {
        let mut admitted = Self::default();
        store.for_each_piece(at, |piece| {
            let facts = of_piece(piece);
            match filter.judge(&facts) {
                Some(false) => {}
                Some(true) => store.texts_of(piece, None, |label| admitted.insert(label))?,
                None => {
                    for document in store.documents_of(piece, at)? {
                        if passes(filter, facts, &document) {
                            store
                                .texts_of(piece, Some(&document), |label| admitted.insert(label))?;
                        }
                    }
                }
            }
            Ok(())
        })?;
        Ok(admitted)
    }

    fn insert(&mut self, label: Label) {
        let Ok(label) = usize::try_from(label) else {
            return;
        };
        if label / 64 >= self.bits.len() {
            self.bits.resize(label / 64 + 1, 0);
        }
        let word = &mut self.bits[label / 64];
        self.len += usize::from(*word & 1 << (label % 64) == 0);
        *word |= 1 << (label % 64);
    }

    /// Whether it is in the set.
    pub fn contains(&self, label: Label) -> bool {
        usize::try_from(label).is_ok_and(|label| {
            self.bits
                .get(label / 64)
                .is_some_and(|word| word & 1 << (label % 64) != 0)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing passes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Label> {
        self.bits.iter().enumerate().flat_map(|(at, word)| {
            (0..64)
                .filter(move |bit| word & 1 << bit != 0)
                .map(move |bit| (at * 64 + bit) as Label)
        })
    }
}

impl FromIterator<Label> for Admitted {
    fn from_iter<T: IntoIterator<Item = Label>>(labels: T) -> Self {
        let mut admitted = Self::default();
        labels.into_iter().for_each(|label| admitted.insert(label));
        admitted
    }
}

/// What is known of a piece before its documents are looked at.
fn of_piece<'a>(piece: &Piece<'a>) -> Facts<'a> {
    Facts {
        root: piece.root,
        path: piece.path,
        format: piece.format,
        changed_ns: piece.changed_ns,
        since: piece.since,
        document: None,
    }
}

fn passes(filter: &Filter, facts: Facts<'_>, document: &PieceDocument) -> bool {
    let metadata = metadata(&document.metadata);
    let document = Some(DocumentFacts {
        name: &document.name,
        title: document.title.as_deref(),
        metadata: &metadata,
    });
    filter.judge(&Facts { document, ..facts }) == Some(true)
}

/// Whether this very place passes.
pub fn place_passes(filter: &Filter, place: &Place) -> bool {
    let metadata = metadata(&place.metadata);
    let facts = Facts {
        root: &place.root,
        path: &place.path,
        format: &place.format,
        changed_ns: place.changed_ns,
        since: place.since,
        document: Some(DocumentFacts {
            name: &place.document,
            title: place.title.as_deref(),
            metadata: &metadata,
        }),
    };
    filter.judge(&facts) == Some(true)
}

/// The fields of a document. The store holds an object: anything else has no fields.
pub fn metadata(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_counts_it_once() {
        let set: Admitted = [3, 64, 3, 127, 0, -1].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 64, 127]);
        assert_eq!(set.len(), 4);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(1 << 40));
        assert!(!set.contains(-1) && !set.is_empty() && Admitted::default().is_empty());
    }
}
