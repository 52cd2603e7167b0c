//! What was ranked, as it is shown: the places of the page's texts are read in one go, and of nothing else.

use std::collections::{HashMap, HashSet};

use floodmark_operators::keys::Epoch;

use crate::answers::{Duplicate, Hit, Passage, Snippet, shown, time};
use crate::store::{DocumentKey, Label, Place, Snapshot, StoreError};

use super::admitted::{metadata, place_passes};
use super::filter::Filter;
use super::rank::Ranked;
use super::snippet::{self, Marks};

/// Chunks that a document shows, the best one included.
const CHUNKS_SHOWN: usize = 3;

/// Shows what was ranked, of one epoch.
pub struct Showing<'a> {
    /// The store.
    pub store: &'a Snapshot,
    /// The epoch of the answer.
    pub at: Epoch,
    /// A place that is shown must pass.
    pub filter: Option<&'a Filter>,
    /// What of a text the query matches.
    pub marks: Marks<'a>,
}

impl Showing<'_> {
    /// A hit for each, in their order.
    ///
    /// # Errors
    /// As the store says; `Broken` if it does not know a text that a view has.
    pub fn hits(&self, ranked: &[Ranked]) -> Result<Vec<Hit>, StoreError> {
        let labels: Vec<Label> = ranked
            .iter()
            .flat_map(|one| one.chunks.iter().take(CHUNKS_SHOWN))
            .map(|(label, _)| *label)
            .collect();
        let mut places: HashMap<Label, Vec<Place>> = HashMap::new();
        for place in self.store.places(&labels, self.at)? {
            if self
                .filter
                .is_none_or(|filter| place_passes(filter, &place))
            {
                places.entry(place.home.label).or_default().push(place);
            }
        }
        ranked.iter().map(|one| self.hit(one, &places)).collect()
    }

    fn hit(&self, ranked: &Ranked, places: &HashMap<Label, Vec<Place>>) -> Result<Hit, StoreError> {
        let documents: HashSet<DocumentKey> = ranked.documents.iter().copied().collect();
        let of = |label: Label| {
            let all = places.get(&label).map_or(&[][..], Vec::as_slice);
            // Where chunks are ranked, every place of the text counts.
            all.iter()
                .filter(|place| documents.is_empty() || documents.contains(&place.home.document))
        };
        let nowhere =
            |label| StoreError::broken(format!("text {label} was found and lies nowhere"));
        let (best, _) = ranked.chunks[0];
        let place = of(best).next().ok_or_else(|| nowhere(best))?;
        let here = path(place);
        let mut duplicates: Vec<Duplicate> = Vec::new();
        let mut seen = HashSet::from([place.home.document]);
        for other in of(best) {
            if seen.insert(other.home.document) {
                duplicates.push(Duplicate {
                    path: path(other),
                    document: other.document.clone(),
                    start: other.start,
                    end: other.end,
                });
            }
        }
        let mut other_paths: Vec<String> = Vec::new();
        for duplicate in &duplicates {
            if duplicate.path != here && other_paths.last() != Some(&duplicate.path) {
                other_paths.push(duplicate.path.clone());
            }
        }
        let mut more = Vec::new();
        for (label, scores) in ranked.chunks.iter().take(CHUNKS_SHOWN).skip(1) {
            let same = |other: &&Place| other.home.document == place.home.document;
            let other = of(*label).find(same).ok_or_else(|| nowhere(*label))?;
            more.push(Passage {
                chunk: u64::from(other.chunk),
                start: other.start,
                end: other.end,
                scores: *scores,
                snippet: self.snippet(&self.text(*label)?),
            });
        }
        let text = self.text(best)?;
        Ok(Hit {
            path: here,
            document: place.document.clone(),
            chunk: u64::from(place.chunk),
            start: place.start,
            end: place.end,
            score: ranked.score,
            scores: ranked.scores,
            title: place.title.clone(),
            snippet: self.snippet(&text),
            text,
            more,
            metadata: metadata(&place.metadata),
            format: place.format.clone(),
            changed: place.changed_ns.map(|ns| time(ns.div_euclid(1_000_000))),
            since: place.since,
            stale: place.stale,
            other_paths,
            duplicates,
        })
    }

    fn text(&self, label: Label) -> Result<String, StoreError> {
        let text = self.store.text_of(label)?;
        text.ok_or_else(|| StoreError::broken(format!("text {label} was found and is not there")))
    }

    fn snippet(&self, text: &str) -> Snippet {
        snippet::snippet(text, self.marks, snippet::CHARACTERS)
    }
}

fn path(place: &Place) -> String {
    shown(&place.root.join(&place.path))
}
