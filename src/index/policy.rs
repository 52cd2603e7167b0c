//! When to build and what: pure arithmetic over counts.
//!
//! The bounds between the kinds are measured: docs/decisions/0006-vector-view.md.

use serde::{Deserialize, Serialize};

/// A kind of index and what it is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every vector is looked at: exact.
    Flat,
    /// A navigable graph (Malkov & Yashunin 2016) with `m` links a node.
    Hnsw {
        /// Links a node on the upper layers, half of those on the lowest.
        m: u32,
    },
    /// Cells around k-means centroids, of which a query looks at `nprobe`.
    Ivf {
        /// Number of cells.
        nlist: u32,
    },
}

impl Kind {
    /// Its name in `status` and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Hnsw { .. } => "hnsw",
            Self::Ivf { .. } => "ivf",
        }
    }
}

/// When the standing index is replaced, and by which kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Churn at which a new build is due.
    pub threshold: f64,
    /// Fewer changes than this never make a build due: small views are read from the store faster than builds are synced.
    pub changes_min: u64,
    /// Up to this many vectors: flat.
    pub flat_max: u64,
    /// Above `flat_max`, up to this many vectors: HNSW. Above: IVF.
    pub hnsw_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            threshold: 0.2,
            changes_min: 1_000,
            flat_max: 50_000,
            hnsw_max: 2_000_000,
        }
    }
}

/// The share of near neighbours that a build must find before it may answer, measured at [`RECALL_AT`].
/// Above the promised .95 by the error of the sample.
pub const RECALL_MIN: f64 = 0.97;
/// Neighbours that the recall is counted over.
pub const RECALL_AT: usize = 10;
/// `efSearch` of a new HNSW build.
pub const EF_SEARCH: usize = 64;

/// Additions beside a graph, each of which every query looks at: some milliseconds for so many.
pub const TAIL_MAX: u64 = 50_000;

impl Policy {
    /// (added + removed since the last build) ÷ live at the last build; without a build, everything has changed.
    pub fn churn(&self, changed: u64, live_at_build: u64) -> f64 {
        match (changed, live_at_build) {
            (0, _) => 0.0,
            (_, 0) => 1.0,
            (changed, live) => changed as f64 / live as f64,
        }
    }

    /// Whether a new build is due.
    pub fn is_due(&self, changed: u64, live_at_build: u64) -> bool {
        changed > 0
            && changed >= self.changes_min
            && self.churn(changed, live_at_build) >= self.threshold
    }

    /// Whether a build is worth its while, before one is due, that goes on from the standing one: it costs what was added. `at_rest`:
    /// nothing more is to come for now, and whoever opens the view next reads from the source what is not built.
    pub fn is_worth_growing(&self, changed: u64, live_at_build: u64, at_rest: bool) -> bool {
        let churn = self.churn(changed, live_at_build);
        let much = match at_rest {
            true => churn >= self.threshold / 4.0,
            // Each build is written whole: a tenth at least, or a long import would write little else.
            false => changed >= TAIL_MAX && churn >= self.threshold / 2.0,
        };
        changed >= self.changes_min && much
    }

    /// The kind of index for `live` vectors.
    pub fn kind(&self, live: u64) -> Kind {
        if live <= self.flat_max {
            Kind::Flat
        } else if live <= self.hnsw_max {
            Kind::Hnsw { m: 32 }
        } else {
            Kind::Ivf { nlist: nlist(live) }
        }
    }
}

/// Cells for `live` vectors: the power of two next to 4 · √n, so that a cell holds some √n ÷ 4 vectors.
pub fn nlist(live: u64) -> u32 {
    let cells = 4.0 * (live.max(1) as f64).sqrt();
    // A k-means needs its 39 points a cell (FAISS warns below), so small collections get fewer.
    let most = (live / 39).max(1) as f64;
    2f64.powi(cells.min(most).log2().round() as i32)
        .min(most)
        .clamp(1.0, 65_536.0) as u32
}

/// Vectors that the cells are learnt from: enough for k-means, few enough for a background thread.
pub fn training_size(nlist: u32, live: u64) -> u64 {
    (64 * u64::from(nlist)).min(live)
}

/// Cells that a query of a new IVF build looks at, before the measured recall asks for more.
pub fn nprobe(nlist: u32) -> usize {
    (nlist as usize / 64).max(8).min(nlist as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_due_at_the_threshold_and_not_below() {
        let policy = Policy::default();
        assert!(!policy.is_due(1_999, 10_000));
        assert!(policy.is_due(2_000, 10_000));
        assert_eq!(policy.churn(2_000, 10_000), 0.2);
    }

    #[test]
    fn small_views_are_left_alone() {
        let policy = Policy::default();
        assert!(!policy.is_due(999, 0));
        assert!(policy.is_due(1_000, 0));
        assert!(!policy.is_due(999, 1_000));
        assert!(!policy.is_due(0, 0));
        assert!(
            !Policy {
                changes_min: 0,
                ..policy
            }
            .is_due(0, 0)
        );
    }

    #[test]
    fn what_only_grows_is_built_sooner_where_it_pays() {
        let policy = Policy::default();
        assert!(!policy.is_worth_growing(49_999, 400_000, false));
        assert!(policy.is_worth_growing(50_000, 400_000, false));
        assert!(!policy.is_worth_growing(99_999, 1_000_000, false));
        assert!(policy.is_worth_growing(100_000, 1_000_000, false));
        assert!(!policy.is_worth_growing(49_999, 1_000_000, true));
        assert!(!policy.is_worth_growing(999, 10_000, true));
        assert!(policy.is_worth_growing(1_000, 20_000, true));
        assert!(!policy.is_worth_growing(1_000, 20_001, true));
    }

    #[test]
    fn the_kind_follows_the_size() {
        let policy = Policy::default();
        let kinds = [0, 50_000, 50_001, 2_000_000, 2_000_001].map(|live| policy.kind(live).name());
        assert_eq!(kinds, ["flat", "flat", "hnsw", "hnsw", "ivf"]);
    }

    #[test]
    fn cells_are_four_to_eight_roots_of_the_size_and_can_be_learnt() {
        for live in [500_001u64, 1_000_000, 3_000_000, 10_000_000] {
            let ratio = f64::from(nlist(live)) / (live as f64).sqrt();
            assert!((2.8..=8.0).contains(&ratio), "{live}: {ratio}");
        }
        for live in [0u64, 1, 38, 39, 100, 1_000, 10_000] {
            let cells = u64::from(nlist(live));
            assert!(cells == 1 || cells * 39 <= live, "{live}: {cells}");
            assert!(training_size(cells as u32, live) <= live);
        }
        assert!(nprobe(4_096) >= 64 && nprobe(1) == 1);
    }
}
