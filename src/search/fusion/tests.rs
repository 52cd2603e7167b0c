//! What fusion must hold to whatever the scores are.

use proptest::prelude::*;

use super::*;

fn recipe(fusion: Fusion) -> Recipe {
    Recipe {
        fusion,
        dense_weight: 0.6,
        rrf_k: RRF_K,
    }
}

/// The fused score of each, in their order.
fn fuse(candidates: &[Candidate], recipe: &Recipe) -> Vec<f64> {
    let fuser = Fuser::new(candidates, *recipe);
    candidates.iter().map(|one| fuser.score(one)).collect()
}

const ALL: [Fusion; 3] = [Fusion::Zscore, Fusion::Minmax, Fusion::Rrf];

/// Candidates with distinct cosines and a keyword list that only some are in, ranks as the scores say.
fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec((-1000i32..1000, 0i32..40), 1..150).prop_map(|scores| {
        let mut candidates: Vec<Candidate> = scores
            .iter()
            .map(|(vector, keyword)| Candidate {
                scores: [
                    f64::from(*vector) / 1000.0,
                    f64::from((*keyword - 20).max(0)) / 3.0,
                ],
                ranks: [None; 2],
            })
            .collect();
        for arm in 0..2 {
            let mut order: Vec<usize> = (0..candidates.len())
                .filter(|at| arm == 0 || candidates[*at].scores[arm] > 0.0)
                .collect();
            order.sort_by(|a, b| candidates[*b].scores[arm].total_cmp(&candidates[*a].scores[arm]));
            for (rank, at) in order.into_iter().take(DEPTH).enumerate() {
                candidates[at].ranks[arm] = Some(rank);
            }
        }
        candidates
    })
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.iter()
        .zip(b)
        .all(|(a, b)| (a - b).abs() <= 1e-6 * (1.0 + a.abs()))
}

proptest! {
    #[test]
    fn an_arm_in_other_units_fuses_to_the_same(
        candidates in candidates(), scale in 0.01f64..1000.0, shift in -50.0f64..50.0, arm in 0usize..2,
    ) {
        let other: Vec<Candidate> = candidates
            .iter()
            .map(|candidate| {
                let mut scores = candidate.scores;
                scores[arm] = scores[arm] * scale + shift;
                Candidate { scores, ..*candidate }
            })
            .collect();
        for fusion in ALL {
            let (ours, theirs) = (fuse(&candidates, &recipe(fusion)), fuse(&other, &recipe(fusion)));
            prop_assert!(close(&ours, &theirs), "{fusion:?} {ours:?} {theirs:?}");
        }
    }

    #[test]
    fn the_order_of_the_candidates_says_nothing(candidates in candidates()) {
        let mut reversed = candidates.clone();
        reversed.reverse();
        for fusion in ALL {
            let mut theirs = fuse(&reversed, &recipe(fusion));
            theirs.reverse();
            prop_assert!(close(&fuse(&candidates, &recipe(fusion)), &theirs));
        }
    }

    #[test]
    fn better_in_both_arms_is_never_behind(candidates in candidates()) {
        for fusion in [Fusion::Zscore, Fusion::Minmax] {
            let fused = fuse(&candidates, &recipe(fusion));
            for (a, fused_a) in candidates.iter().zip(&fused) {
                for (b, fused_b) in candidates.iter().zip(&fused) {
                    if a.scores[0] >= b.scores[0] && a.scores[1] >= b.scores[1] {
                        prop_assert!(fused_a >= &(fused_b - 1e-9));
                    }
                }
            }
        }
    }

    #[test]
    fn all_the_weight_on_an_arm_is_its_own_order(candidates in candidates(), arm in 0usize..2) {
        for fusion in [Fusion::Zscore, Fusion::Minmax] {
            let recipe = Recipe { dense_weight: 1.0 - arm as f64, ..recipe(fusion) };
            let fused = fuse(&candidates, &recipe);
            for (a, fused_a) in candidates.iter().zip(&fused) {
                for (b, fused_b) in candidates.iter().zip(&fused) {
                    // Minmax gives nothing to all that lie below its list.
                    if fused_a > fused_b {
                        prop_assert!(a.scores[arm] > b.scores[arm]);
                    }
                }
            }
        }
    }

    #[test]
    fn whatever_the_scores_are_the_fused_one_is_a_number(
        scores in prop::collection::vec((any::<f64>(), any::<f64>()), 0..120), weight in 0.0f64..=1.0,
    ) {
        let candidates: Vec<Candidate> = scores
            .into_iter()
            .map(|(a, b)| Candidate { scores: [a, b], ranks: [Some(0), None] })
            .collect();
        for fusion in ALL {
            let fused = fuse(&candidates, &Recipe { dense_weight: weight, ..recipe(fusion) });
            prop_assert!(fused.iter().all(|score| score.is_finite()), "{fusion:?} {fused:?}");
            prop_assert_eq!(fused.len(), candidates.len());
        }
    }
}

#[test]
fn an_arm_that_finds_nothing_or_the_same_everywhere_leaves_the_order_to_the_other() {
    for silent in [0.0, 0.1 + 0.2, -7.5] {
        let candidates: Vec<Candidate> = (0..30)
            .map(|number| Candidate {
                scores: [f64::from(number) / 100.0, silent],
                ranks: [Some(29 - number as usize), None],
            })
            .collect();
        for fusion in ALL {
            let fused = fuse(&candidates, &recipe(fusion));
            assert!(fused.is_sorted_by(|a, b| a < b), "{fusion:?} {fused:?}");
        }
    }
}

#[test]
fn one_candidate_and_none_are_no_trouble() {
    for fusion in ALL {
        assert!(fuse(&[], &recipe(fusion)).is_empty());
        let only = Candidate {
            scores: [0.5, 3.0],
            ranks: [Some(0), Some(0)],
        };
        assert!(fuse(&[only], &recipe(fusion))[0].is_finite());
    }
}

#[test]
fn the_only_one_that_has_the_word_is_lifted() {
    // Ninety-nine that are near in meaning, and one that is a little less near and has the identifier asked for.
    let mut candidates: Vec<Candidate> = (0..99)
        .map(|number| Candidate {
            scores: [0.5 - f64::from(number) / 1000.0, 0.0],
            ranks: [Some(number as usize), None],
        })
        .collect();
    candidates.push(Candidate {
        scores: [0.39, 9.0],
        ranks: [Some(99), Some(0)],
    });
    for fusion in ALL {
        let fused = fuse(&candidates, &recipe(fusion));
        let best = (0..100).max_by(|a, b| fused[*a].total_cmp(&fused[*b]));
        let expected = match fusion {
            Fusion::Minmax => Some(0),
            Fusion::Zscore | Fusion::Rrf => Some(99),
        };
        assert_eq!(best, expected, "{fusion:?} {fused:?}");
    }
}

#[test]
fn reciprocal_ranks_are_what_the_paper_says() {
    let candidates = [
        Candidate {
            scores: [0.9, 1.0],
            ranks: [Some(0), Some(1)],
        },
        Candidate {
            scores: [0.8, 0.0],
            ranks: [Some(1), None],
        },
    ];
    let fused = fuse(&candidates, &recipe(Fusion::Rrf));
    assert_eq!(fused, [1.0 / 61.0 + 1.0 / 62.0, 1.0 / 62.0]);
}

#[test]
fn z_scores_and_shares_by_hand() {
    // Means 2 and 1, deviations √(2/3) and √2.
    let candidates = [(3.0, 0.0), (2.0, 3.0), (1.0, 0.0)].map(|(vector, keyword)| Candidate {
        scores: [vector, keyword],
        ranks: [None; 2],
    });
    let half = |fusion| Recipe {
        dense_weight: 0.5,
        ..recipe(fusion)
    };
    let z = 1.5f64.sqrt();
    let expected = [
        z / 2.0 - 0.5f64.sqrt() / 2.0,
        2f64.sqrt() / 2.0,
        -z / 2.0 - 0.5f64.sqrt() / 2.0,
    ];
    assert!(close(&fuse(&candidates, &half(Fusion::Zscore)), &expected));
    assert!(close(
        &fuse(&candidates, &half(Fusion::Minmax)),
        &[0.5, 0.75, 0.0]
    ));
}

#[test]
fn ties_are_broken_by_the_arms_and_then_by_the_place() {
    let mut ranked = [
        (1.0, [0.2, 0.5], 1u32),
        (1.0, [0.3, 0.1], 2),
        (2.0, [0.0, 0.0], 3),
        (1.0, [0.2, 0.5], 0),
    ];
    ranked.sort_by(|a, b| order(*a, *b));
    assert_eq!(ranked.map(|ranked| ranked.2), [3, 2, 0, 1]);
}
