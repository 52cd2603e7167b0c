//! Where files are cut, and where a reading goes on.

use super::*;

#[test]
fn a_small_file_is_one_segment() {
    for format in FORMATS {
        for bytes in ["", "[\"a\", 1]\n", "\u{feff}\"a\"\n\n"] {
            let found = segments(bytes.as_bytes(), format, &Options::default(), false).unwrap();
            assert_eq!(found.len(), 1, "{format:?} {bytes:?}");
            assert_eq!(
                (found[0].bytes.as_slice(), found[0].piece),
                (bytes.as_bytes(), Piece::Whole)
            );
            assert!(found[0].last);
            assert_eq!(
                segments(b"x", format, &Options::default(), true)
                    .unwrap()
                    .len(),
                1
            );
        }
        for nothing in [&b""[..], b" \n\n "] {
            match read(nothing, format) {
                Err(failure) if format == Format::Json => {
                    assert_eq!(failure.reason, "invalid-json", "JSON is one value");
                }
                read => assert_eq!(read, Ok(Parsed::default()), "{format:?}"),
            }
        }
    }
}

/// Yields `repeat` copies of a line without holding them, and counts what is asked of it.
struct Endless {
    line: &'static [u8],
    size: u64,
    at: u64,
}

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = to.len().min((self.size - self.at) as usize);
        for (i, byte) in to[..len].iter_mut().enumerate() {
            *byte = self.line[((self.at + i as u64) % self.line.len() as u64) as usize];
        }
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else {
            unimplemented!()
        };
        self.at = at;
        Ok(at)
    }
}

#[test]
fn a_huge_file_is_resumed_far_in_without_reading_up_to_there() {
    let line = b"{\"text\":\"the tide\"}\n";
    let size = 10 * (1 << 30) / 20 * 20;
    let resume = Resume {
        offset: size - 2000,
        segment: 7,
        record: 9,
        line: 9,
        ..Resume::default()
    };
    let mut segmenter = Segmenter::new(
        Endless { line, size, at: 0 },
        Format::Jsonl,
        size,
        &Options::default(),
        &resume,
    );
    let first = segmenter.next_segment().unwrap().unwrap();
    assert_eq!(
        (first.bytes.len(), first.byte_base as u64, first.record_base),
        (1000, size - 2000, 9)
    );
    let second = segmenter.next_segment().unwrap().unwrap();
    assert!(second.last);
    assert_eq!(
        (second.next.offset, second.next.record, second.next.segment),
        (size, 109, 9)
    );
    assert!(segmenter.next_segment().unwrap().is_none());
}

#[test]
fn an_io_error_passes_through() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    for format in FORMATS {
        let resume = Resume::default();
        let mut segmenter = Segmenter::new(Failing, format, 10, &Options::default(), &resume);
        assert!(
            matches!(segmenter.next_segment(), Err(SegmentError::Io(_))),
            "{format:?}"
        );
        assert!(matches!(segmenter.next_segment(), Ok(None)), "{format:?}");
    }
}
