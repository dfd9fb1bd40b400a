//! The protobuf wire format.

use super::Malformed;

/// One field's value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self, field: &'static str) -> Result<&'a [u8], Malformed> {
        match self {
            Wire::Bytes(bytes) => Ok(bytes),
            Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) => {
                Err(Malformed::WrongWireType(field))
            }
        }
    }

    pub(super) fn text(self, field: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| Malformed::NotUtf8(field))
    }

    /// A varint as a signed integer: negative ones are sent as 64-bit two's complement.
    pub(super) fn integer(self, field: &'static str) -> Result<i64, Malformed> {
        match self {
            Wire::Varint(value) => Ok(value.cast_signed()),
            Wire::Fixed64(_) | Wire::Fixed32(_) | Wire::Bytes(_) => {
                Err(Malformed::WrongWireType(field))
            }
        }
    }
}

/// Reads fields one by one.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and value.
    pub(super) fn next(&mut self) -> Result<Option<(u16, Wire<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > (1 << 29) {
            return Err(Malformed::FieldNumber(number));
        }
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(Malformed::WireType(other)),
        };
        // No table has numbers this large; such a field is skipped like any unknown one.
        Ok(Some((u16::try_from(number).unwrap_or(u16::MAX), value)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::LongInteger)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(head)
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_integer(out: &mut Vec<u8>, number: u16, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value.cast_unsigned());
}

pub(super) fn put_double(out: &mut Vec<u8>, number: u16, value: f64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A field whose content is written by `write`, with its length in front.
pub(crate) fn put_nested(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(number) << 3 | 2);
    let start = out.len();
    // Most messages are shorter than 128 bytes, so that one byte is enough for the length.
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    let mut prefix = [0_u8; 10];
    let mut used = 0;
    let mut rest = length;
    for byte in &mut prefix {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        used += 1;
        *byte = if rest == 0 { low } else { low | 0x80 };
        if rest == 0 {
            break;
        }
    }
    if used > 1 {
        let end = out.len();
        out.resize(end + used - 1, 0);
        out.copy_within(start + 1..end, start + used);
    }
    if let (Some(to), Some(from)) = (out.get_mut(start..start + used), prefix.get(..used)) {
        to.copy_from_slice(from);
    }
}
