use super::*;
use crate::index::snapshot::inner_product;
use crate::index::testing::clustered;

const D: usize = 64;

fn vectors(n: u64) -> Vec<f32> {
    (0..n).flat_map(|label| clustered(label, D, 60)).collect()
}

fn filled(kind: Kind, data: &[f32]) -> Ann {
    let mut ann = Ann::new(kind, D).unwrap();
    ann.train(data, 1).unwrap();
    ann.add(data, 1).unwrap();
    ann
}

fn exact(data: &[f32], query: &[f32], k: usize) -> Vec<usize> {
    let mut rows: Vec<(f32, usize)> = data
        .chunks(D)
        .enumerate()
        .map(|(row, vector)| (inner_product(query, vector), row))
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    rows.into_iter().take(k).map(|(_, row)| row).collect()
}

fn recall(ann: &Ann, data: &[f32], nprobe: usize) -> f64 {
    let queries: Vec<Vec<f32>> = (1_000_000..1_000_100)
        .map(|label| clustered(label, D, 60))
        .collect();
    let found: usize = queries
        .iter()
        .map(|query| {
            let near = ann.search(query, 10, nprobe).unwrap();
            let truth = exact(data, query, 10);
            near.iter().filter(|n| truth.contains(&n.position)).count()
        })
        .sum();
    found as f64 / (10 * queries.len()) as f64
}

#[test]
fn every_kind_finds_what_is_near() {
    let data = vectors(4_000);
    assert_eq!(recall(&filled(Kind::Flat, &data), &data, 1), 1.0);
    let mut hnsw = filled(Kind::Hnsw { m: 32 }, &data);
    hnsw.set_ef_search(64).unwrap();
    let found = recall(&hnsw, &data, 1);
    assert!(found >= 0.95, "hnsw {found}");
    let found = recall(&filled(Kind::Ivf { nlist: 64 }, &data), &data, 16);
    assert!(found >= 0.95, "ivf {found}");
}

#[test]
fn the_effort_of_a_query_is_its_own() {
    let data = vectors(4_000);
    let ivf = filled(Kind::Ivf { nlist: 64 }, &data);
    let (little, all) = (recall(&ivf, &data, 1), recall(&ivf, &data, 64));
    assert!(little < all && all == 1.0, "{little} {all}");
}

#[test]
fn rows_come_back_bit_for_bit_also_from_a_file() {
    let data = vectors(2_500);
    let dir = tempfile::tempdir().unwrap();
    for kind in [Kind::Flat, Kind::Hnsw { m: 16 }, Kind::Ivf { nlist: 16 }] {
        let mut ann = filled(kind, &data[..2_000 * D]);
        ann.add(&data[2_000 * D..], 2).unwrap();
        let path = dir.path().join(kind.name());
        ann.write(&path).unwrap();
        let again = Ann::read(&path, kind, D, 2_500).unwrap();
        let mut row = vec![0.0; D];
        for (position, vector) in data.chunks(D).enumerate() {
            for ann in [&ann, &again] {
                ann.vector(position, &mut row).unwrap();
                assert_eq!(row, vector, "{kind:?} {position}");
            }
        }
        let query = clustered(77_777, D, 60);
        assert_eq!(
            ann.search(&query, 10, 16).unwrap(),
            again.search(&query, 10, 16).unwrap()
        );
    }
}

#[test]
fn a_file_of_another_kind_size_or_width_is_refused() {
    let data = vectors(100);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    filled(Kind::Flat, &data).write(&path).unwrap();
    assert!(Ann::read(&path, Kind::Hnsw { m: 32 }, D, 100).is_err());
    assert!(Ann::read(&path, Kind::Flat, D, 99).is_err());
    assert!(Ann::read(&path, Kind::Flat, D / 2, 100).is_err());
    assert!(Ann::read(&dir.path().join("none"), Kind::Flat, D, 100).is_err());
    std::fs::write(&path, b"IxPT anything at all").unwrap();
    assert!(Ann::read(&path, Kind::Flat, D, 100).is_err());
    std::fs::write(&path, b"IxFI").unwrap();
    let error = Ann::read(&path, Kind::Flat, D, 100).unwrap_err();
    assert!(
        matches!(error, IndexError::Faiss { .. }),
        "an exception ends as an error: {error}"
    );
}

#[test]
fn what_faiss_would_hang_on_or_read_beyond_never_reaches_it() {
    let data = vectors(300);
    for kind in [Kind::Flat, Kind::Hnsw { m: 16 }, Kind::Ivf { nlist: 4 }] {
        let mut ann = filled(kind, &data);
        let mut bad = data[..D].to_vec();
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            bad[D - 1] = poison;
            assert!(matches!(ann.search(&bad, 3, 1), Err(IndexError::NotFinite)));
            assert!(matches!(ann.add(&bad, 1), Err(IndexError::NotFinite)));
        }
        assert!(matches!(
            ann.search(&data[..D - 1], 3, 1),
            Err(IndexError::Dimension { .. })
        ));
        assert!(matches!(
            ann.search(&data[..2 * D], 3, 1),
            Err(IndexError::Dimension { .. })
        ));
        assert!(matches!(
            ann.add(&data[..D + 1], 1),
            Err(IndexError::Dimension { .. })
        ));
        assert!(ann.vector(300, &mut bad).is_err());
        assert!(ann.vector(0, &mut bad[1..]).is_err());
        assert_eq!(ann.len(), 300);
        assert_eq!(ann.search(&data[..D], 0, 1).unwrap(), []);
        // A graph over separate clusters may not reach all rows: that is what the snapshot's exhaustive search is for.
        let most = ann.search(&data[..D], 1_000, 4).unwrap().len();
        assert!(
            most == 300 || kind == Kind::Hnsw { m: 16 } && most >= 10,
            "{kind:?} {most}"
        );
    }
}

#[test]
fn an_index_that_is_empty_untrained_or_impossible_says_so() {
    let query = clustered(1, D, 60);
    for kind in [Kind::Flat, Kind::Hnsw { m: 16 }, Kind::Ivf { nlist: 4 }] {
        assert_eq!(Ann::new(kind, D).unwrap().search(&query, 5, 1).unwrap(), []);
    }
    let mut ivf = Ann::new(Kind::Ivf { nlist: 4 }, D).unwrap();
    assert!(ivf.add(&query, 1).is_err());
    assert!(ivf.train(&query, 1).is_err());
    assert!(Ann::new(Kind::Flat, 0).is_err());
    assert!(Ann::new(Kind::Flat, usize::MAX).is_err());
}

#[test]
fn many_threads_may_search_one_index() {
    let data = vectors(2_000);
    for kind in [Kind::Flat, Kind::Hnsw { m: 16 }, Kind::Ivf { nlist: 16 }] {
        let ann = filled(kind, &data);
        let queries: Vec<Vec<f32>> = (0..50).map(|i| clustered(900_000 + i, D, 60)).collect();
        let alone: Vec<_> = queries
            .iter()
            .map(|q| ann.search(q, 10, 8).unwrap())
            .collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let together: Vec<_> = queries
                        .iter()
                        .map(|q| ann.search(q, 10, 8).unwrap())
                        .collect();
                    assert_eq!(together, alone);
                });
            }
        });
    }
}
