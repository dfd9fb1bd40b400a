//! Frames of SPDY/3.1: reading them from any split of the bytes, and writing them.

use super::SpdyError;
use super::headers::{Deflater, Headers, Inflater};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest control frame, in bytes.
const LONGEST_CONTROL: usize = 64 * 1024;
/// Bytes of data handed on at once.
const PIECE: usize = 64 * 1024;
/// The version in control frames; 3.1 says 3 too.
const VERSION: u16 = 3;
/// This end of the stream is finished.
const FIN: u8 = 1;
/// Length of a frame's head.
const HEAD: usize = 8;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Why a stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The stream does not exist.
    Invalid = 2,
    /// The server does not take it.
    Refused = 3,
    /// It is of no use any more.
    Cancelled = 5,
}

/// Whether more comes on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// More may come.
    Open,
    /// That was all.
    Fin,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream.
    Open { id: u32, end: End, headers: Headers },
    /// Some bytes of a stream; long frames come in several pieces.
    Data { id: u32, end: End, bytes: Bytes },
    /// Both directions of a stream are over.
    Reset(u32),
    /// To be sent back.
    Ping(u32),
    /// No new streams will come.
    GoAway,
    /// Nothing to act on: settings, windows (nobody who speaks this to Kubernetes keeps to them).
    Other,
}

/// Takes frames out of bytes.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// What was received and not read yet.
    pub(super) buffer: BytesMut,
    /// The rest of a data frame.
    data: Option<(u32, End, usize)>,
    inflater: Inflater,
}

impl Decoder {
    /// The next frame; `None` until more bytes are there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        if let Some((id, end, left)) = self.data {
            return Ok(self.piece(id, end, left));
        }
        let Some(head) = self.buffer.get(..HEAD) else {
            return Ok(None);
        };
        let mut head = head;
        let first = head.get_u32();
        let flags = head.get_u8();
        let length = usize::try_from(head.get_uint(3)).unwrap_or(usize::MAX);
        let end = if flags & FIN == 0 {
            End::Open
        } else {
            End::Fin
        };
        if first >> 31 == 0 {
            self.buffer.advance(HEAD);
            return Ok(self.piece(first, end, length));
        }
        let version = u16::try_from(first >> 16 & 0x7fff).unwrap_or_default();
        if version != VERSION {
            return Err(SpdyError::Version(version));
        }
        if length > LONGEST_CONTROL {
            return Err(SpdyError::TooLarge);
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let body = self.buffer.split_to(length).freeze();
        let kind = u16::try_from(first & 0xffff).unwrap_or_default();
        self.control(kind, end, body).map(Some)
    }

    /// What is there of a data frame.
    fn piece(&mut self, id: u32, end: End, left: usize) -> Option<Frame> {
        let length = left.min(self.buffer.len()).min(PIECE);
        let rest = left.saturating_sub(length);
        self.data = (rest > 0).then_some((id, end, rest));
        if length == 0 && left > 0 {
            return None;
        }
        let bytes = self.buffer.split_to(length).freeze();
        let end = if rest == 0 { end } else { End::Open };
        Some(Frame::Data { id, end, bytes })
    }

    fn control(&mut self, kind: u16, end: End, mut body: Bytes) -> Result<Frame, SpdyError> {
        let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| SpdyError::TooShort);
        let id = |body: &mut Bytes| number(body).map(|id| id & 0x7fff_ffff);
        Ok(match kind {
            SYN_STREAM => {
                let id = id(&mut body)?;
                number(&mut body)?;
                body.try_get_u16().map_err(|_| SpdyError::TooShort)?;
                let headers = self.inflater.read(&body)?;
                Frame::Open { id, end, headers }
            }
            // Decompressed all the same: later blocks refer back to them.
            SYN_REPLY | HEADERS => {
                let id = id(&mut body)?;
                self.inflater.read(&body)?;
                match end {
                    End::Fin => Frame::Data {
                        id,
                        end,
                        bytes: Bytes::new(),
                    },
                    End::Open => Frame::Other,
                }
            }
            RST_STREAM => Frame::Reset(id(&mut body)?),
            PING => Frame::Ping(number(&mut body)?),
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        })
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The stream is taken.
    Reply(u32),
    /// Some bytes of a stream.
    Data { id: u32, end: End, bytes: Bytes },
    /// Both directions of a stream are over.
    Reset(u32, Reason),
    /// The answer to a ping.
    Ping(u32),
    /// Nothing more will come on any stream.
    GoAway(u32),
}

/// Writes frames.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    deflater: Deflater,
}

impl Encoder {
    /// Appends a frame.
    pub(super) fn put(&mut self, answer: &Answer, out: &mut BytesMut) {
        match answer {
            Answer::Reply(id) => {
                let block = self.deflater.write(&Headers::default());
                control(SYN_REPLY, 4 + block.len(), out);
                out.put_u32(*id);
                out.put_slice(&block);
            }
            Answer::Data { id, end, bytes } => {
                out.put_u32(*id);
                put_length(u8::from(*end == End::Fin), bytes.len(), out);
                out.put_slice(bytes);
            }
            Answer::Reset(id, reason) => {
                control(RST_STREAM, 8, out);
                out.put_u32(*id);
                out.put_u32(*reason as u32);
            }
            Answer::Ping(number) => {
                control(PING, 4, out);
                out.put_u32(*number);
            }
            Answer::GoAway(last) => {
                control(GOAWAY, 8, out);
                out.put_u32(*last);
                out.put_u32(0);
            }
        }
    }
}

fn control(kind: u16, length: usize, out: &mut BytesMut) {
    out.put_u32(1 << 31 | u32::from(VERSION) << 16 | u32::from(kind));
    put_length(0, length, out);
}

/// Flags and length of a frame; its caller keeps it below 16 MiB.
fn put_length(flags: u8, length: usize, out: &mut BytesMut) {
    let length = u32::try_from(length).unwrap_or_default() & 0x00ff_ffff;
    out.put_u32(u32::from(flags) << 24 | length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads frames from bytes that arrive in pieces; the pieces of data frames joined again.
    fn read(pieces: &[&[u8]]) -> Result<Vec<Frame>, SpdyError> {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.next()? {
                join(&mut frames, frame);
            }
            assert!(decoder.buffer.len() <= HEAD + LONGEST_CONTROL);
        }
        Ok(frames)
    }

    fn join(frames: &mut Vec<Frame>, frame: Frame) {
        if let (
            Some(Frame::Data { id, end, bytes }),
            Frame::Data {
                id: next,
                end: ends,
                bytes: more,
            },
        ) = (frames.last_mut(), &frame)
            && id == next
            && *end == End::Open
        {
            *bytes = [&bytes[..], &more[..]].concat().into();
            *end = *ends;
            return;
        }
        frames.push(frame);
    }

    /// A client's frames: a stream with headers, data, the end of it, a ping, a reset.
    fn conversation(data: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        let headers = Headers(vec![("streamtype".into(), "data".into())]);
        let block = Deflater::default().write(&headers);
        control(SYN_STREAM, 10 + block.len(), &mut out);
        out.put_u32(1);
        out.put_u32(0);
        out.put_u16(0);
        out.put_slice(&block);
        let mut encoder = Encoder::default();
        let bytes = Bytes::copy_from_slice(data);
        let data = Answer::Data {
            id: 1,
            end: End::Fin,
            bytes,
        };
        for answer in [
            data,
            Answer::Ping(7),
            Answer::Reset(1, Reason::Cancelled),
            Answer::GoAway(1),
        ] {
            encoder.put(&answer, &mut out);
        }
        out
    }

    proptest! {
        #[test]
        fn every_split_of_the_bytes_reads_the_same(
            data in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0_usize..400,
        ) {
            let bytes = conversation(&data);
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            let whole = read(&[&bytes]).unwrap();
            prop_assert_eq!(read(&[left, right]).unwrap(), whole.clone());
            prop_assert_eq!(whole.len(), 5);
            let Frame::Data { end, bytes, .. } = &whole[1] else { panic!("{whole:?}") };
            prop_assert_eq!((*end, &bytes[..]), (End::Fin, &data[..]));
        }

        #[test]
        fn nonsense_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _either = read(&[&bytes]);
        }

        #[test]
        fn damaged_control_frames_are_refused_without_a_panic(
            at in 0_usize..80, value: u8,
        ) {
            let mut bytes = conversation(b"hello");
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
            let _either = read(&[&bytes]);
        }
    }

    #[test]
    fn a_frame_of_another_version_or_of_no_sane_length_is_refused() {
        assert!(matches!(
            read(&[b"\x80\x02\x00\x01\0\0\0\0"]),
            Err(SpdyError::Version(2))
        ));
        let long = [0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff];
        assert!(matches!(read(&[&long]), Err(SpdyError::TooLarge)));
    }

    #[test]
    fn settings_and_window_updates_are_passed_over() {
        let mut out = BytesMut::new();
        for (kind, body) in [(4, &b"\0\0\0\0"[..]), (9, b"\0\0\0\x01\0\0\0\x05")] {
            control(kind, body.len(), &mut out);
            out.put_slice(body);
        }
        assert_eq!(read(&[&out]).unwrap(), [Frame::Other, Frame::Other]);
    }
}
