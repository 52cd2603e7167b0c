//! From what the arms find to documents in order, or chunks.
//!
//! ```text
//!  vectors ─ best chunks ─┐                              ┌ true scores of both arms
//!                         ├─▶ their documents ─ union ─▶ ┤ for every chunk of them ─▶ best chunk by arm ─▶ fuse ─▶ order
//!  words   ─ best chunks ─┘                              └
//! ```
//!
//! A document's score in an arm is that of its best chunk there: a long one is not diluted by its other chunks. Fused are
//! documents, so the chunk that has the words need not be the one that has the meaning.
//!
//! The order is made in blocks: what the first hundred of each list give, then what four times as many add, and so on. So
//! what stands on a page does not depend on how many pages are asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::answers::{Fusion, Scores};
use crate::store::{DocumentKey, Home, Label, StoreError};

use super::SearchError;
use super::admitted::Admitted;
use super::arm::{Arm, Scored};
use super::fusion::{Candidate, DEPTH, Fuser, RRF_K_RANKS, Recipe, order};

/// Documents with more chunks are judged by those that were found.
const CHUNKS_JUDGED_MAX: usize = 64;

/// Where texts lie, at the epoch of the answer.
pub trait Documents {
    /// The documents in which these texts lie and may be found.
    ///
    /// # Errors
    /// As the store says.
    fn homes(&self, labels: &[Label]) -> Result<Vec<Home>, StoreError>;

    /// All the texts of each of these documents, or none where there are more than `most`.
    ///
    /// # Errors
    /// As the store says.
    fn texts(&self, homes: &[Home], most: usize) -> Result<Vec<Vec<Label>>, StoreError>;
}

/// Weighs the two arms by the first block of candidates.
pub trait Weigh {
    /// What the vectors weigh. `texts`: of each candidate a text that was found; `best`: the best of their scores by words.
    fn dense_weight(&self, texts: &[Label], best: f64) -> f64;
}

/// What was ranked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// Best first.
    pub ranked: Vec<Ranked>,
    /// What the vectors weighed; `None` where it made no difference: one arm, or ranks.
    pub dense_weight: Option<f64>,
}

/// What to rank.
pub struct Ranking<'a> {
    /// Vectors and words; at least one of them.
    pub arms: [Option<&'a dyn Arm>; 2],
    /// Only these texts.
    pub admitted: Option<&'a Admitted>,
    /// How two scores become one; its weight is `weigh`'s if there is one.
    pub recipe: Recipe,
    /// Says what the vectors weigh, once it is known what there is to choose from.
    pub weigh: Option<&'a dyn Weigh>,
    /// Documents are ranked; `None`: chunks are.
    pub documents: Option<&'a dyn Documents>,
}

/// A document that was found, or a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// What it is ranked by.
    pub score: f64,
    /// What that was made from.
    pub scores: Scores,
    /// The chunks that were found, best first, with what each has by itself.
    pub chunks: Vec<(Label, Scores)>,
    /// The documents that hold just these; empty where chunks are ranked.
    pub documents: Vec<DocumentKey>,
}

/// A candidate before it is judged: documents in which the same chunks were found are one.
#[derive(Debug)]
struct Unit {
    found: Vec<Label>,
    homes: Vec<Home>,
    /// By arm: place in the list, and best score there.
    listed: [Option<(usize, f64)>; 2],
}

impl Ranking<'_> {
    /// The first `wanted`, best first; fewer only if there are no more.
    ///
    /// # Errors
    /// What the arms and the store say.
    pub fn first(&self, wanted: usize) -> Result<Order, SearchError> {
        let mut order = Order::default();
        let mut seen = Seen::default();
        // A document may have several of the best chunks. What a graph of neighbours is asked for is what it costs.
        let mut depth = if self.documents.is_some() {
            DEPTH * 3 / 2
        } else {
            DEPTH
        };
        let mut listed = DEPTH;
        loop {
            let mut lists = [Vec::new(), Vec::new()];
            let mut all = true;
            for (arm, list) in self.arms.iter().zip(&mut lists) {
                if let Some(arm) = arm {
                    *list = arm.nearest(depth, self.admitted)?;
                    all &= list.len() < depth;
                }
            }
            let (units, cut) = self.units(&lists, listed, &mut seen)?;
            self.judge(units, &mut order)?;
            if order.ranked.len() >= wanted || (all && !cut) {
                order.ranked.truncate(wanted);
                return Ok(order);
            }
            depth *= 4;
            listed *= 4;
        }
    }

    /// What is new in the lists, down to place `most` of each; and whether something new lies below.
    fn units(
        &self,
        lists: &[Vec<Scored>; 2],
        most: usize,
        seen: &mut Seen,
    ) -> Result<(Vec<Unit>, bool), SearchError> {
        let mut units: Vec<Unit> = match self.documents {
            Some(documents) => {
                let labels: BTreeSet<Label> =
                    lists.iter().flatten().map(|(label, _)| *label).collect();
                let labels: Vec<Label> = labels.into_iter().collect();
                folded(documents.homes(&labels)?)
            }
            None => {
                let labels: BTreeSet<Label> =
                    lists.iter().flatten().map(|(label, _)| *label).collect();
                let unit = |label| Unit {
                    found: vec![label],
                    homes: Vec::new(),
                    listed: [None; 2],
                };
                labels.into_iter().map(unit).collect()
            }
        };
        for (arm, list) in lists.iter().enumerate() {
            let scores: HashMap<Label, f64> = list.iter().copied().collect();
            let mut in_list: Vec<(f64, usize)> = units
                .iter()
                .enumerate()
                .filter_map(|(at, unit)| {
                    let scores = unit.found.iter().filter_map(|label| scores.get(label));
                    Some((scores.copied().max_by(f64::total_cmp)?, at))
                })
                .collect();
            // Equal scores in the order of the units, which is that of their first labels.
            in_list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (rank, (score, at)) in in_list.into_iter().enumerate() {
                units[at].listed[arm] = Some((rank, score));
            }
        }
        let (mut new, mut cut) = (Vec::new(), false);
        for mut unit in units {
            if !seen.is_new(&unit) {
                continue;
            }
            for listed in &mut unit.listed {
                *listed = listed.filter(|(rank, _)| *rank < most);
            }
            if unit.listed == [None; 2] {
                cut = true;
            } else {
                new.push(unit);
            }
        }
        new.iter().for_each(|unit| seen.add(unit));
        Ok((new, cut))
    }

    /// Scores a block, and adds it to the order.
    fn judge(&self, units: Vec<Unit>, to: &mut Order) -> Result<(), SearchError> {
        let judged = self.judged_by(&units)?;
        let labels: BTreeSet<Label> = judged.iter().flatten().copied().collect();
        let labels: Vec<Label> = labels.into_iter().collect();
        let mut scores: [Option<HashMap<Label, f64>>; 2] = [None, None];
        for (arm, scores) in self.arms.iter().zip(&mut scores) {
            if let Some(arm) = arm {
                let of_labels = arm.scores(&labels)?;
                *scores = of_labels.map(|list| labels.iter().copied().zip(list).collect());
            }
        }
        let best = |arm: usize, labels: &[Label]| {
            let scores = scores[arm].as_ref()?;
            let of_labels = labels.iter().filter_map(|label| scores.get(label));
            of_labels.copied().max_by(f64::total_cmp)
        };
        let candidate = |unit: &Unit, labels: &[Label]| Candidate {
            // Where an arm has ranks only, what it said in its list is all there is.
            scores: [0, 1].map(|arm| {
                let listed = unit.listed[arm].map(|(_, score)| score);
                best(arm, labels).or(listed).unwrap_or(0.0)
            }),
            ranks: unit.listed.map(|listed| listed.map(|(rank, _)| rank)),
        };
        let candidates: Vec<Candidate> = units
            .iter()
            .zip(&judged)
            .map(|(unit, labels)| candidate(unit, labels))
            .collect();
        let ranks_only = (0..2).any(|arm| self.arms[arm].is_some() && scores[arm].is_none());
        let has = self.arms.map(|arm| arm.is_some());
        // All blocks are weighed as the first one: it has the best of both arms.
        let dense_weight = to.dense_weight.unwrap_or_else(|| {
            let texts: Vec<Label> = units.iter().map(|unit| unit.found[0]).collect();
            let best = candidates.iter().map(|candidate| candidate.scores[1]);
            let best = best.max_by(f64::total_cmp).unwrap_or(0.0);
            (self.weigh).map_or(self.recipe.dense_weight, |weigh| {
                weigh.dense_weight(&texts, best)
            })
        });
        let recipe = Recipe {
            dense_weight,
            ..self.recipe(ranks_only)
        };
        if has == [true, true] && recipe.fusion != Fusion::Rrf {
            to.dense_weight = Some(dense_weight);
        }
        let fuser = Fuser::new(&candidates, recipe);
        // Which of a document's chunks to show is a question of scores, whatever orders the documents.
        let chunk_recipe = Recipe {
            fusion: Fusion::Zscore,
            ..recipe
        };
        let chunk_fuser = Fuser::new(&candidates, chunk_recipe);
        let total = |fuser: &Fuser, candidate: &Candidate| match has {
            [true, true] => fuser.score(candidate),
            [vectors, _] => candidate.scores[usize::from(!vectors)],
        };
        let shown = |score: f64, candidate: &Candidate| Scores {
            vector: has[0].then_some(candidate.scores[0]),
            keyword: has[1].then_some(candidate.scores[1]),
            fused: (has == [true, true]).then_some(score),
            rerank: None,
        };
        let mut ranked: Vec<(Ranked, [f64; 2], Label)> = units
            .into_iter()
            .zip(candidates)
            .map(|(unit, whole)| {
                let mut chunks: Vec<(f64, Candidate, Label)> = unit
                    .found
                    .iter()
                    .map(|label| {
                        let chunk = candidate(&unit, &[*label]);
                        (total(&chunk_fuser, &chunk), chunk, *label)
                    })
                    .collect();
                chunks.sort_by(|a, b| order((a.0, a.1.scores, a.2), (b.0, b.1.scores, b.2)));
                let score = total(&fuser, &whole);
                let ranked = Ranked {
                    score,
                    scores: shown(score, &whole),
                    chunks: chunks
                        .into_iter()
                        .map(|(score, chunk, label)| (label, shown(score, &chunk)))
                        .collect(),
                    documents: unit.homes.iter().map(|home| home.document).collect(),
                };
                (ranked, whole.scores, unit.found[0])
            })
            .collect();
        ranked.sort_by(|a, b| order((a.0.score, a.1, a.2), (b.0.score, b.1, b.2)));
        to.ranked
            .extend(ranked.into_iter().map(|(ranked, _, _)| ranked));
        Ok(())
    }

    fn recipe(&self, ranks_only: bool) -> Recipe {
        if !ranks_only {
            return self.recipe;
        }
        let rrf_k = match self.recipe.fusion {
            Fusion::Rrf => self.recipe.rrf_k,
            Fusion::Zscore | Fusion::Minmax => RRF_K_RANKS,
        };
        Recipe {
            fusion: Fusion::Rrf,
            rrf_k,
            ..self.recipe
        }
    }

    /// The texts by which each unit is judged: all of the document's, or those that were found.
    fn judged_by(&self, units: &[Unit]) -> Result<Vec<Vec<Label>>, SearchError> {
        let found = || {
            units
                .iter()
                .map(|unit| unit.found.clone())
                .collect::<Vec<_>>()
        };
        // A single arm has found the best chunk itself.
        let (Some(documents), [Some(_), Some(_)]) = (self.documents, self.arms) else {
            return Ok(found());
        };
        let homes: Vec<Home> = units.iter().map(|unit| unit.homes[0]).collect();
        let texts = documents.texts(&homes, CHUNKS_JUDGED_MAX)?;
        let both = found().into_iter().zip(texts).map(|(mut found, texts)| {
            let admitted = |label: &Label| self.admitted.is_none_or(|set| set.contains(*label));
            found.extend(texts.into_iter().filter(admitted));
            found.sort_unstable();
            found.dedup();
            found
        });
        Ok(both.collect())
    }
}

/// Documents by which of the texts they hold, in the order of their first texts.
fn folded(homes: Vec<Home>) -> Vec<Unit> {
    let mut by_document: BTreeMap<DocumentKey, Vec<Home>> = BTreeMap::new();
    for home in homes {
        by_document.entry(home.document).or_default().push(home);
    }
    let mut units: BTreeMap<Vec<Label>, Vec<Home>> = BTreeMap::new();
    for (_, homes) in by_document {
        let mut found: Vec<Label> = homes.iter().map(|home| home.label).collect();
        found.sort_unstable();
        found.dedup();
        units.entry(found).or_default().push(homes[0]);
    }
    units
        .into_iter()
        .map(|(found, homes)| Unit {
            found,
            homes,
            listed: [None; 2],
        })
        .collect()
}

/// What stands in earlier blocks.
#[derive(Default)]
struct Seen {
    documents: HashSet<DocumentKey>,
    chunks: HashSet<Label>,
}

impl Seen {
    /// A document that was seen with fewer of its chunks is not new.
    fn is_new(&self, unit: &Unit) -> bool {
        match unit.homes.as_slice() {
            [] => !self.chunks.contains(&unit.found[0]),
            homes => !homes
                .iter()
                .any(|home| self.documents.contains(&home.document)),
        }
    }

    fn add(&mut self, unit: &Unit) {
        if unit.homes.is_empty() {
            self.chunks.insert(unit.found[0]);
        }
        self.documents
            .extend(unit.homes.iter().map(|home| home.document));
    }
}

#[cfg(test)]
mod tests;
