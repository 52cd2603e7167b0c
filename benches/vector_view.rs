//! The vector view by kind and size: build, search, recall, additions, reopening, the next build.
//!
//! ```text
//! cargo bench --bench vector_view                               10,000 and 100,000 vectors of 384 numbers, made up
//! cargo bench --bench vector_view -- 50000                      another size
//! cargo bench --bench vector_view -- --state DIR 10000 50000    of real texts: those of the index in DIR, as many as it has
//! cargo bench --bench vector_view -- --serve DIR 50000 [--state DIR]
//! ```
//!
//! Made-up vectors are clustered: of independent random ones every pair is as far apart, and no index finds anything. Of an index,
//! every n-th live vector is kept out and asks for its neighbours among the others, which are taken evenly over the whole index.
//!
//! With `--serve` the vectors, the queries and the true neighbours are written into DIR for another program to search, the
//! view is built as the policy has it, and then each line on standard input, `one` or `many`, is answered by the times
//! of all queries: one after the other on one thread, or ten times on all cores at once. So two programs can be measured in
//! turn. Of an index that has fewer vectors, all are taken.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use floodmark::index::policy::{Kind, Policy};
use floodmark::index::view::Options;
use floodmark::index::{Change, Hit, SourceError, VectorSource, VectorView};
use floodmark::store::Reader;

const DIMENSION: usize = 384;
const QUERIES: usize = 300;
const K: usize = 10;
/// How often each query is asked to measure how many are answered in a second.
const TIMES: usize = 10;

struct Random(u64);

impl Random {
    /// About normal: splitmix64, four times.
    fn normal(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            sum += ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum * 1.73
    }
}

/// A vector of one of `clusters` clusters; two of one cluster have a cosine of about .6.
fn vector(label: u64, clusters: u64, into: &mut Vec<f32>) {
    let mut own = Random(label.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut centre = Random((label.wrapping_mul(0x9e37_79b9) >> 7) % clusters * 0xd1b5_4a32 + 7);
    let start = into.len();
    into.extend((0..DIMENSION).map(|_| centre.normal() + 0.8 * own.normal()));
    let norm = into[start..].iter().map(|x| x * x).sum::<f32>().sqrt();
    into[start..].iter_mut().for_each(|x| *x /= norm);
}

/// `live` labels at epoch 1; then epochs of more.
struct Source {
    vectors: Vec<f32>,
    live: u64,
    epoch: u64,
    changes: Vec<Change>,
}

impl VectorSource for Source {
    fn epoch(&self) -> Result<u64, SourceError> {
        Ok(self.epoch)
    }
    fn dimension(&self) -> usize {
        DIMENSION
    }
    fn model_id(&self) -> String {
        "bench".into()
    }
    fn live_count(&self) -> Result<u64, SourceError> {
        Ok(self.live)
    }
    fn live(&self, each: &mut dyn FnMut(u64, &[f32])) -> Result<(), SourceError> {
        let rows = self.vectors.chunks(DIMENSION).take(self.live as usize);
        rows.enumerate()
            .for_each(|(label, vector)| each(label as u64, vector));
        Ok(())
    }
    fn changes_after(&self, epoch: u64) -> Result<Option<Vec<Change>>, SourceError> {
        Ok(Some(
            self.changes
                .iter()
                .filter(|c| c.epoch > epoch)
                .copied()
                .collect(),
        ))
    }
    fn vectors(
        &self,
        labels: &[u64],
        each: &mut dyn FnMut(u64, &[f32]),
    ) -> Result<(), SourceError> {
        for &label in labels {
            let start = label as usize * DIMENSION;
            each(label, &self.vectors[start..start + DIMENSION]);
        }
        Ok(())
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Searches everything once: sorted times, and the labels found.
fn search(view: &VectorView, queries: &[f32]) -> (Vec<Duration>, Vec<HashSet<u64>>) {
    let snapshot = view.snapshot();
    let (mut times, mut found) = (Vec::new(), Vec::new());
    for query in queries.chunks(DIMENSION) {
        let start = Instant::now();
        let hits = snapshot.search(query, K, None).expect("a good query");
        times.push(start.elapsed());
        found.push(hits.iter().map(|h| h.label).collect());
    }
    times.sort();
    (times, found)
}

/// Vectors for the index and a tenth more, and those that ask.
struct Sample {
    vectors: Vec<f32>,
    queries: Vec<f32>,
}

fn made_up(live: u64, more: u64) -> Sample {
    let clusters = (live / 100).max(1);
    let mut vectors = Vec::with_capacity((live + more) as usize * DIMENSION);
    (0..live + more).for_each(|label| vector(label, clusters, &mut vectors));
    let mut queries = Vec::new();
    (0..QUERIES as u64).for_each(|i| vector((1 << 40) + i, clusters, &mut queries));
    Sample { vectors, queries }
}

/// From the texts that somebody has indexed.
fn of_an_index(all: &[f32], live: u64, more: u64) -> Sample {
    let rows: Vec<&[f32]> = all.chunks(DIMENSION).collect();
    let wanted = (live + more) as usize;
    assert!(
        rows.len() >= wanted + QUERIES,
        "{live} vectors, {more} more and {QUERIES} that ask are {}, and the index has {}",
        wanted + QUERIES,
        rows.len()
    );
    let apart = rows.len() / QUERIES;
    let asks = |at: usize| at.is_multiple_of(apart) && at / apart < QUERIES;
    let queries = (0..rows.len()).filter(|at| asks(*at));
    let queries = queries.flat_map(|at| rows[at]).copied().collect();
    let others: Vec<usize> = (0..rows.len()).filter(|at| !asks(*at)).collect();
    let vectors = (0..wanted).map(|i| others[i * others.len() / wanted]);
    // The first part is what is built: evenly over all of it, too.
    let mut order: Vec<usize> = vectors.collect();
    let mut random = Random(7);
    for i in (1..order.len()).rev() {
        random.0 = random
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        order.swap(i, (random.0 >> 33) as usize % (i + 1));
    }
    let vectors = order.into_iter().flat_map(|at| rows[at]).copied().collect();
    Sample { vectors, queries }
}

/// The live vectors of a state folder.
fn live_vectors(state: &Path) -> Vec<f32> {
    let reader = Reader::open(state).expect("an index");
    let store = reader.snapshot().expect("a snapshot");
    let mut all = Vec::new();
    store
        .for_each_live_vector(|_, vector| all.extend_from_slice(vector))
        .expect("vectors");
    all
}

fn measure(live: u64, sample: Sample) {
    let more = live / 10;
    let Sample {
        mut vectors,
        queries,
    } = sample;

    let mut truth = Vec::new();
    for (kind, flat_max, hnsw_max) in [
        ("flat", u64::MAX, u64::MAX),
        ("hnsw", 0, u64::MAX),
        ("ivf", 0, 0),
    ] {
        let mut source = Source {
            vectors: std::mem::take(&mut vectors),
            live,
            epoch: 1,
            changes: Vec::new(),
        };
        let dir = tempfile::tempdir().expect("a folder");
        let policy = Policy {
            flat_max,
            hnsw_max,
            changes_min: 1,
            ..Policy::default()
        };
        let options = Options {
            policy,
            build_threads: 1,
            ..Options::default()
        };

        let start = Instant::now();
        let mut view = VectorView::open(dir.path(), &source, options.clone()).expect("opens");
        let loading = start.elapsed();
        view.wait_for_build().expect("builds");
        let building = start.elapsed() - loading;
        let build = view.status().last_build.expect("was built");

        let (times, found) = search(&view, &queries);
        if truth.is_empty() {
            truth = found.clone();
        }
        let hits: usize = found
            .iter()
            .zip(&truth)
            .map(|(found, truth)| found.intersection(truth).count())
            .sum();
        let recall = hits as f64 / (K * QUERIES) as f64;

        // A tenth more, in one epoch: below the threshold.
        source.changes = (live..live + more)
            .map(|label| Change {
                epoch: 2,
                label,
                op: 1,
            })
            .collect();
        (source.epoch, source.live) = (2, live + more);
        let start = Instant::now();
        view.follow(&source).expect("follows");
        let adding = start.elapsed();
        let (with_tail, _) = search(&view, &queries);
        drop(view);
        let start = Instant::now();
        let view = VectorView::open(dir.path(), &source, options.clone()).expect("opens");
        let opening = start.elapsed();
        assert_eq!(
            view.status().last_build.map(|b| b.epoch),
            Some(1),
            "opened from the build"
        );
        drop(view);
        // Now it is due: a graph goes on from what stands.
        let policy = Policy {
            threshold: 0.05,
            ..options.policy
        };
        let mut view =
            VectorView::open(dir.path(), &source, Options { policy, ..options }).expect("opens");
        let start = Instant::now();
        view.wait_for_build().expect("builds");
        let next = start.elapsed();
        assert_eq!(view.status().last_build.map(|b| b.epoch), Some(2), "built");
        println!(
            "{live:>8} {kind:>5} {:>8} {:>8.0} ms {:>8.1} s {:>8.3} ms {:>8.3} ms {:>8.3} ms {recall:>8.3} {:>8.1} k/s {:>8.3} ms {:>8.0} ms {:>8.1} s",
            match build.kind.name() {
                "hnsw" => format!("ef {}", build.ef_search),
                "ivf" => format!("np {}", build.nprobe),
                other => other.to_owned(),
            },
            milliseconds(loading),
            building.as_secs_f64(),
            milliseconds(times[0]),
            milliseconds(times[QUERIES / 2]),
            milliseconds(times[QUERIES * 99 / 100]),
            more as f64 / 1e3 / adding.as_secs_f64(),
            milliseconds(with_tail[QUERIES / 2]),
            milliseconds(opening),
            next.as_secs_f64(),
        );
        vectors = source.vectors;
    }
}

/// All queries on all cores: how many a second.
fn throughput(view: &VectorView, queries: &[f32]) -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let rows = queries.len() / DIMENSION;
    let part = rows.div_ceil(threads) * DIMENSION;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for queries in queries.chunks(part) {
            scope.spawn(move || {
                let snapshot = view.snapshot();
                for query in std::iter::repeat_n(queries.chunks(DIMENSION), TIMES).flatten() {
                    std::hint::black_box(snapshot.search(query, K, None).expect("a good query"));
                }
            });
        }
    });
    (TIMES * rows) as f64 / start.elapsed().as_secs_f64()
}

fn serve(dir: &Path, live: u64, real: Option<&[f32]>) -> std::io::Result<()> {
    let live = real.map_or(live, |all| {
        live.min((all.len() / DIMENSION).saturating_sub(QUERIES) as u64)
    });
    let Sample { vectors, queries } = match real {
        Some(all) => of_an_index(all, live, 0),
        None => made_up(live, 0),
    };
    let bytes = |numbers: &[f32]| {
        numbers
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<_>>()
    };
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("vectors.f32"), bytes(&vectors))?;
    std::fs::write(dir.join("queries.f32"), bytes(&queries))?;

    let source = Source {
        vectors,
        live,
        epoch: 1,
        changes: Vec::new(),
    };
    let exact = Options {
        policy: Policy {
            flat_max: u64::MAX,
            ..Policy::default()
        },
        ..Options::default()
    };
    let folder = tempfile::tempdir()?;
    let truth = {
        let mut view =
            VectorView::open(&folder.path().join("exact"), &source, exact).expect("opens");
        view.wait_for_build().expect("builds");
        let snapshot = view.snapshot();
        let nearest = |query| snapshot.search(query, K, None).expect("a good query");
        queries.chunks(DIMENSION).map(nearest).collect::<Vec<_>>()
    };
    let labels = truth
        .iter()
        .flatten()
        .flat_map(|hit| (hit.label as u32).to_le_bytes());
    std::fs::write(dir.join("truth.u32"), labels.collect::<Vec<_>>())?;

    let start = Instant::now();
    let mut view =
        VectorView::open(&folder.path().join("view"), &source, Options::default()).expect("opens");
    view.wait_for_build().expect("builds");
    let building = start.elapsed();
    // So few that none is built are looked at one by one.
    let kind = view
        .status()
        .last_build
        .map_or(Kind::Flat, |build| build.kind);
    let factory = match kind {
        Kind::Flat => "Flat".to_owned(),
        Kind::Hnsw { m } => format!("HNSW{m},Flat"),
        Kind::Ivf { nlist } => format!("IVF{nlist},Flat"),
    };
    let (_, found) = search(&view, &queries);
    let right = |(found, truth): (&HashSet<u64>, &Vec<Hit>)| {
        truth
            .iter()
            .filter(|hit| found.contains(&hit.label))
            .count()
    };
    let right: usize = found.iter().zip(&truth).map(right).sum();
    let recall = right as f64 / (K * QUERIES) as f64;
    println!(
        r#"{{"vectors": {live}, "real": {}, "factory": "{factory}", "recall": {recall}, "built": {}}}"#,
        real.is_some(),
        building.as_secs_f64()
    );
    for line in std::io::stdin().lines() {
        if line?.trim() == "one" {
            let (times, _) = search(&view, &queries);
            println!(
                r#"{{"p50": {}, "p99": {}}}"#,
                milliseconds(times[QUERIES / 2]),
                milliseconds(times[QUERIES * 99 / 100])
            );
        } else {
            println!(r#"{{"per_second": {}}}"#, throughput(&view, &queries));
        }
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let state = arguments.iter().position(|a| a == "--state");
    let real = state
        .and_then(|at| arguments.get(at + 1))
        .map(|state| live_vectors(Path::new(state)));
    if let [serving, dir, live, ..] = &arguments[..]
        && serving == "--serve"
    {
        let live = live.parse().expect("a number");
        serve(Path::new(dir), live, real.as_deref()).expect("a folder and two pipes");
        return;
    }
    let mut sizes: Vec<u64> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        // `cargo test --all-targets` runs this too, without --bench: then only to see that it runs.
        let is_bench = arguments.iter().any(|a| a == "--bench");
        sizes = if is_bench {
            vec![10_000, 100_000]
        } else {
            vec![500]
        };
    }
    println!(
        "{:>8} {:>5} {:>8} {:>11} {:>10} {:>11} {:>11} {:>11} {:>8} {:>12} {:>11} {:>11} {:>10}",
        "vectors",
        "kind",
        "built",
        "load",
        "build",
        "fastest",
        "p50",
        "p99",
        "recall",
        "additions",
        "p50 +10 %",
        "reopen",
        "next build"
    );
    for live in sizes {
        let sample = match &real {
            Some(all) => of_an_index(all, live, live / 10),
            None => made_up(live, live / 10),
        };
        measure(live, sample);
    }
}
