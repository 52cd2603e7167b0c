//! From "this key now has that value" to differences: the retraction of the previous value is derived, not tracked.
//!
//! ```
//! use floodmark_operators::keys::{ContentKey, PathKey};
//! use floodmark_operators::upsert::upsert;
//! use timely::dataflow::operators::{Input, Inspect};
//! use std::sync::{Arc, Mutex};
//!
//! let (path, old, new) = (PathKey::of(&[b"a"]), ContentKey::of(&[b"1"]), ContentKey::of(&[b"2"]));
//! let seen = Arc::new(Mutex::new(vec![]));
//! let sink = seen.clone();
//! timely::execute_directly(move |worker| {
//!     let mut input = worker.dataflow(|scope| {
//!         let (input, stream) = scope.new_input();
//!         upsert(stream).inspect(move |(value, time, diff)| sink.lock().unwrap().push((*time, *diff, *value)));
//!         input
//!     });
//!     input.send(((path, 0), Some(old)));
//!     input.advance_to(1);
//!     input.send(((path, 0), Some(new)));
//! });
//! let mut seen = seen.lock().unwrap().clone();
//! seen.sort();
//! assert_eq!(seen, vec![(0, 1, old), (1, -1, old), (1, 1, new)]);
//! ```

use differential_dataflow::operators::arrange::upsert::arrange_from_upsert;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use differential_dataflow::{ExchangeData, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::keys::{Epoch, PathKey};

/// A place that holds one content at a time: a file and, for large files, the number of the piece.
pub type Slot = (PathKey, u32);

/// The values in force, as a collection: each `Some` replaces what the slot held, `None` empties it.
/// Of several values for one slot at one time the greatest counts.
pub fn upsert<'scope, V: ExchangeData>(
    changes: StreamVec<'scope, Epoch, (Slot, Option<V>)>,
) -> VecCollection<'scope, Epoch, V, isize> {
    let stamped = changes
        .unary::<CapacityContainerBuilder<Vec<(Slot, Option<V>, Epoch)>>, _, _, _>(
            Pipeline,
            "Stamp",
            |_, _| {
                |input, output| {
                    input.for_each_time(|time, data| {
                        let changes = data.flat_map(|batch| batch.drain(..));
                        output.session(&time).give_iterator(
                            changes.map(|(slot, value)| (slot, value, *time.time())),
                        );
                    });
                }
            },
        );
    arrange_from_upsert::<ValBuilder<Slot, V, _, _>, ValSpine<Slot, V, _, _>, Slot, V>(
        stamped, "Upsert",
    )
    .as_collection(|_slot, value| value.clone())
}
