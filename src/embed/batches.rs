//! Which texts run together: sorted by length and filled up by padded tokens, not by count.

/// Batches of indices into `lengths`, longest first. Rows × longest row of a batch stay within `tokens_max`, except for a
/// text that is longer than that alone. The same lengths give the same batches.
///
/// ```
/// use floodmark::embed::batches::plan;
/// // 300 fills a batch alone; 100 and 90 pay 2 × 100 tokens
/// assert_eq!(plan(&[90, 300, 100], 256), [vec![1], vec![2, 0]]);
/// ```
pub fn plan(lengths: &[usize], tokens_max: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(lengths[at]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut rows_max = 0;
    for at in order {
        match batches.last_mut() {
            Some(batch) if batch.len() < rows_max => batch.push(at),
            _ => {
                // the first row of a batch is its longest
                rows_max = tokens_max / lengths[at].max(1);
                batches.push(vec![at]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_runs_once_and_no_batch_is_too_large(
            lengths in proptest::collection::vec(0usize..700, 0..200),
            tokens_max in 1usize..1500,
        ) {
            let batches = plan(&lengths, tokens_max);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in batches {
                let longest = batch.iter().map(|&at| lengths[at]).max().unwrap();
                prop_assert!(batch.len() == 1 || batch.len() * longest <= tokens_max);
            }
        }
    }
}
