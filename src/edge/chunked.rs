//! Decodes a chunked body (RFC 9112, section 7.1). Pure: bytes in, body out.

use super::error::Refusal;

/// Where in the coding the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a size line; the digits so far and their value.
    Size { digits: u8, value: u64 },
    /// In a chunk extension, which is skipped; the bytes so far.
    Extension { value: u64, length: usize },
    /// Behind the CR of a size line.
    SizeLf { value: u64 },
    /// In a chunk's data.
    Data { left: u64 },
    /// Behind a chunk's data.
    DataCr,
    /// Behind the CR that follows a chunk's data.
    DataLf,
    /// At the beginning of a trailer line or of the empty line that ends the body.
    TrailerStart,
    /// In a trailer line, which is dropped.
    Trailer,
    /// Behind the CR of a trailer line.
    TrailerLf,
    /// Behind the CR of the last empty line.
    EndLf,
    /// All of it has been read.
    Done,
}

/// A reader of one chunked body; whatever it decodes is appended to a buffer of the caller.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    trailer_bytes: usize,
}

/// The most bytes that extensions of one chunk, or all trailers together, may have.
const EXTRA_BYTES_MAX: usize = 4096;
/// Hexadecimal digits of a chunk size; 8 are 4 GiB, past every body limit.
const SIZE_DIGITS_MAX: u8 = 8;

impl Decoder {
    /// A decoder at the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Size { digits: 0, value: 0 }, trailer_bytes: 0 }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes from the front of `input` and appends what they carry to `body`; returns how
    /// many were taken (all of them, unless the body ended before).
    ///
    /// Errors: broken coding, or a body that would be longer than `body_bytes_max`.
    pub fn feed(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        body_bytes_max: usize,
    ) -> Result<usize, Refusal> {
        let mut taken = 0;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.is_done() {
                break;
            }
            if let State::Data { left } = self.state {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                body.extend_from_slice(rest.get(..length).unwrap_or_default());
                taken += length;
                let left = left - length as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            if let Some(byte) = rest.first() {
                self.state = self.step(*byte)?;
                taken += 1;
            }
            if let State::Data { left } = self.state {
                let room = (body_bytes_max as u64).saturating_sub(body.len() as u64);
                if left > room {
                    return Err(Refusal::BodyTooLarge(body_bytes_max));
                }
            }
        }
        Ok(taken)
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        const SIZE: Refusal = Refusal::BadBody("a chunk size is not a hexadecimal number");
        const END: Refusal = Refusal::BadBody("a chunk does not end with CR LF");
        match (self.state, byte) {
            (State::Size { digits, value }, b) if b.is_ascii_hexdigit() => {
                if digits >= SIZE_DIGITS_MAX {
                    return Err(SIZE);
                }
                let digit = (b as char).to_digit(16).map_or(0, u64::from);
                Ok(State::Size { digits: digits + 1, value: value * 16 + digit })
            }
            (State::Size { digits: 1.., value }, b'\r') => Ok(State::SizeLf { value }),
            (State::Size { digits: 1.., value }, b';' | b' ' | b'\t') => {
                Ok(State::Extension { value, length: 0 })
            }
            (State::Extension { value, .. }, b'\r') => Ok(State::SizeLf { value }),
            (State::Extension { value, length }, b) if b != b'\n' && length < EXTRA_BYTES_MAX => {
                Ok(State::Extension { value, length: length + 1 })
            }
            (State::SizeLf { value: 0 }, b'\n') => Ok(State::TrailerStart),
            (State::SizeLf { value }, b'\n') => Ok(State::Data { left: value }),
            (State::Size { .. } | State::Extension { .. } | State::SizeLf { .. }, _) => Err(SIZE),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { digits: 0, value: 0 }),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, b) if b != b'\n' => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > EXTRA_BYTES_MAX {
                    return Err(Refusal::BadBody("the trailers of the body are too long"));
                }
                Ok(State::Trailer)
            }
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(END),
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], cut: usize) -> Result<(Vec<u8>, usize, bool), Refusal> {
        let mut decoder = Decoder::new();
        let mut body = Vec::new();
        let mut taken = 0;
        for piece in input.chunks(cut) {
            let n = decoder.feed(piece, &mut body, 64)?;
            taken += n;
            if n < piece.len() {
                break;
            }
        }
        Ok((body, taken, decoder.is_done()))
    }

    #[test]
    fn every_cut_gives_the_same_body_and_leaves_the_next_request() {
        let input = b"4;x=\"y\"\r\nabcd\r\n0003\r\nefg\r\n0\r\nTrailer: no\r\n\r\nGET / HTTP/1.1";
        for cut in 1..input.len() {
            let (body, taken, done) = decode(input, cut).unwrap();
            assert_eq!((body.as_slice(), done), (&b"abcdefg"[..], true));
            assert_eq!(&input[taken..], b"GET / HTTP/1.1");
        }
    }

    #[test]
    fn broken_coding_is_refused() {
        for bad in [
            &b"\r\nabc"[..],
            b"4\nabcd",
            b"g\r\n",
            b"-1\r\n",
            b"0x4\r\nabcd",
            b"4\r\nabcdX",
            b"4\r\nabcd\n0\r\n\r\n",
            b"000000001\r\n",
            b"0\r\nTrailer\n",
        ] {
            assert!(decode(bad, 1).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_its_bytes_come() {
        assert_eq!(decode(b"41\r\n", 4), Err(Refusal::BodyTooLarge(64)));
        assert_eq!(decode(b"3f\r\n", 4).map(|(b, ..)| b.len()), Ok(0));
        assert_eq!(decode(b"ffffffff\r\n", 10), Err(Refusal::BodyTooLarge(64)));
    }
}
