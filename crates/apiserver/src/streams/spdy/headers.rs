//! Header blocks: zlib with a preset dictionary, one stream for a whole connection.

use super::{SpdyError, dictionary};
use bytes::{Buf, BufMut};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// Size of the window that matches may refer back to, in bytes; a power of two.
const WINDOW: usize = 32 * 1024;
/// Longest header block once decompressed, in bytes.
const LONGEST: usize = 64 * 1024;
/// Second byte of a zlib stream: a dictionary is named.
const HAS_DICTIONARY: u8 = 0x20;

/// Names (in lower case) and values of a stream's headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    /// The value of `name` (in lower case), or `""`.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Reads the decompressed form: a count, then names and values with their lengths.
    pub(super) fn parse(mut block: &[u8]) -> Result<Self, SpdyError> {
        let number = |block: &mut &[u8]| {
            let number = block.try_get_u32().map_err(|_| SpdyError::BadHeaders)?;
            usize::try_from(number).map_err(|_| SpdyError::BadHeaders)
        };
        let text = |block: &mut &[u8]| -> Result<String, SpdyError> {
            let length = number(block)?;
            let (text, rest) = block
                .split_at_checked(length)
                .ok_or(SpdyError::BadHeaders)?;
            *block = rest;
            Ok(String::from_utf8_lossy(text).into_owned())
        };
        let count = number(&mut block)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = text(&mut block)?;
            pairs.push((name.to_ascii_lowercase(), text(&mut block)?));
        }
        Ok(Self(pairs))
    }

    /// Writes the form that [`Headers::parse`] reads.
    pub(super) fn render(&self) -> Vec<u8> {
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let mut out = Vec::new();
        out.put_u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.0 {
            for text in [name, value] {
                out.put_u32(length(text));
                out.put_slice(text.as_bytes());
            }
        }
        out
    }
}

/// Decompresses the header blocks of one direction of a connection, in their order.
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    window: Vec<u8>,
    /// Where in the window the next byte goes.
    at: usize,
    begun: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            state: Box::default(),
            window: vec![0; WINDOW],
            at: 0,
            begun: false,
        }
    }
}

impl Inflater {
    /// The headers in the next block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, SpdyError> {
        let block = if std::mem::replace(&mut self.begun, true) {
            block
        } else {
            self.begin(block)?
        };
        Headers::parse(&self.inflate(block)?)
    }

    /// Takes the zlib header off the first block, and the dictionary into the window.
    fn begin<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], SpdyError> {
        let (head, rest) = block.split_at_checked(2).ok_or(SpdyError::BadHeaders)?;
        if head.get(1).is_none_or(|flags| flags & HAS_DICTIONARY == 0) {
            return Ok(rest);
        }
        let (id, rest) = rest.split_at_checked(4).ok_or(SpdyError::BadHeaders)?;
        if id != dictionary::ID.to_be_bytes() {
            return Err(SpdyError::BadHeaders);
        }
        let known = dictionary::bytes();
        if let Some(start) = self.window.get_mut(..known.len()) {
            start.copy_from_slice(&known);
            self.at = known.len();
        }
        Ok(rest)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut out = Vec::new();
        loop {
            let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
            let (status, read, written) =
                decompress(&mut self.state, block, &mut self.window, self.at, flags);
            let end = self.at + written;
            out.extend_from_slice(self.window.get(self.at..end).unwrap_or_default());
            self.at = end % WINDOW;
            block = block.get(read..).unwrap_or_default();
            if out.len() > LONGEST {
                return Err(SpdyError::TooLarge);
            }
            if status == TINFLStatus::NeedsMoreInput {
                return Ok(out);
            }
            if status != TINFLStatus::HasMoreOutput {
                return Err(SpdyError::BadHeaders);
            }
        }
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

/// Writes header blocks as stored zlib blocks: they are short, and any client reads them.
#[derive(Debug, Default)]
pub(super) struct Deflater {
    begun: bool,
}

impl Deflater {
    /// The next block.
    pub(super) fn write(&mut self, headers: &Headers) -> Vec<u8> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            out.put_slice(&[0x78, HAS_DICTIONARY]);
            out.put_u32(dictionary::ID);
        }
        for chunk in headers.render().chunks(usize::from(u16::MAX)) {
            let length = u16::try_from(chunk.len()).unwrap_or_default();
            out.put_u8(0);
            out.put_u16_le(length);
            out.put_u16_le(!length);
            out.put_slice(chunk);
        }
        // Without an empty block after them, some readers hold the last bytes back.
        out.put_slice(&[0, 0, 0, 0xff, 0xff]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks as zlib's level 9 compresses them with the dictionary.
    const FIRST: &[u8] = &[
        0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x02, 0x25, 0x6f, 0x48, 0xf9, 0x5b, 0x04, 0x4e, 0xea,
        0x16, 0x06, 0x16, 0x06, 0x40, 0x9a, 0xb3, 0x08, 0x12, 0x5f, 0x99, 0xa0, 0x74, 0xcc, 0x68,
        0x00, 0x4e, 0x89, 0x25, 0x45, 0xa9, 0x89, 0xb9, 0xd0, 0xc2, 0x86, 0x35, 0x15, 0x14, 0x15,
        0xd8, 0x8b, 0x5e, 0x1e, 0x64, 0x17, 0x01, 0x00, 0x00, 0x00, 0xff, 0xff,
    ];
    const SECOND: &[u8] = &[
        0x02, 0x25, 0x6a, 0x32, 0xcc, 0x07, 0x15, 0x66, 0x89, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff,
    ];

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Headers(pairs.iter().map(own).collect())
    }

    #[test]
    fn blocks_of_one_connection_are_read_in_their_order() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        let first = headers(&[("streamtype", "data"), ("port", "80")]);
        let second = headers(&[]);
        for one in [&first, &second, &first] {
            assert_eq!(inflater.read(&deflater.write(one)).unwrap(), *one);
        }
    }

    #[test]
    fn matches_may_refer_to_the_dictionary_and_to_earlier_blocks() {
        let mut inflater = Inflater::default();
        let [first, second] = [FIRST, SECOND].map(|block| inflater.read(block).unwrap());
        assert_eq!(first.text("streamtype"), "error");
        assert_eq!(second.text("streamtype"), "data");
        assert_eq!(
            (second.text("port"), second.text("requestid")),
            ("8080", "0")
        );
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut deflater = Deflater::default();
        let large = headers(&[("a", &"x".repeat(LONGEST))]);
        let refused = Inflater::default().read(&deflater.write(&large));
        assert!(matches!(refused, Err(SpdyError::TooLarge)), "{refused:?}");
    }
}
