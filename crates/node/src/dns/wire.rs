//! Messages as bytes.

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};

/// Largest answer over UDP that is offered and sent (bytes): what fits every link unfragmented.
pub(super) const LARGEST: u16 = 1232;
/// Length of a message's header (bytes).
const HEADER: usize = 12;

/// A query, or the answer to what is none.
#[derive(Debug)]
pub(super) enum Received {
    /// A question to answer.
    Query(Message),
    /// It cannot be understood; this tells so.
    Malformed(Vec<u8>),
    /// An answer, or too short to be anything: answering could go on for ever.
    Ignored,
}

/// Reads a packet.
pub(super) fn read(packet: &[u8]) -> Received {
    match Message::from_vec(packet) {
        Ok(message) if message.metadata.message_type == MessageType::Query => {
            Received::Query(message)
        }
        Ok(_) => Received::Ignored,
        Err(_) => malformed(packet),
    }
}

fn malformed(packet: &[u8]) -> Received {
    let (Some([high, low, flags, ..]), true) = (packet.get(..4), packet.len() >= HEADER) else {
        return Received::Ignored;
    };
    if flags & 0x80 != 0 {
        return Received::Ignored;
    }
    let id = u16::from_be_bytes([*high, *low]);
    let told = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    told.to_vec().map_or(Received::Ignored, Received::Malformed)
}

/// The most bytes that the sender of a query takes over UDP.
pub(super) fn limit(query: &Message) -> usize {
    usize::from(query.max_payload().clamp(512, LARGEST))
}

/// The message as bytes. Where it is longer than the limit, additional records go first; then as
/// many answers stay as fit, and it is marked as cut.
pub(super) fn encode(response: &Message, limit: usize) -> Vec<u8> {
    let bytes = |message: &Message| message.to_vec().unwrap_or_default();
    let whole = bytes(response);
    if whole.len() <= limit {
        return whole;
    }
    let mut cut = response.clone();
    cut.additionals.clear();
    let shorter = bytes(&cut);
    if shorter.len() <= limit {
        return shorter;
    }
    cut.metadata.truncation = true;
    cut.authorities.clear();
    let (mut fits, mut too_many) = (0, response.answers.len() + 1);
    while fits + 1 < too_many {
        let middle = usize::midpoint(fits, too_many);
        cut.answers = response.answers.iter().take(middle).cloned().collect();
        if bytes(&cut).len() <= limit {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    cut.answers = response.answers.iter().take(fits).cloned().collect();
    bytes(&cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record};
    use proptest::prelude::*;

    fn response(answers: u8, additionals: u8) -> Message {
        let record = |n: u8| {
            let name = Name::from_ascii("db.default.svc.cluster.local.").unwrap();
            Record::from_rdata(name, 5, RData::A(A::new(10, 244, 0, n)))
        };
        let mut message = Message::response(7, OpCode::Query);
        message.answers.extend((0..answers).map(record));
        message.additionals.extend((0..additionals).map(record));
        message
    }

    #[test]
    fn what_is_no_query_is_told_or_ignored() {
        let ask = Message::new(9, MessageType::Query, OpCode::Query);
        assert!(matches!(read(&ask.to_vec().unwrap()), Received::Query(_)));
        let tell = response(1, 0).to_vec().unwrap();
        assert!(matches!(read(&tell), Received::Ignored));
        assert!(matches!(read(&tell[..5]), Received::Ignored));
        // One question is announced and none is there.
        let broken = [0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let Received::Malformed(told) = read(&broken) else {
            panic!("no query, and nothing told");
        };
        let told = Message::from_vec(&told).unwrap();
        assert_eq!(told.metadata.id, 9);
        assert_eq!(told.metadata.response_code, ResponseCode::FormErr);
    }

    proptest! {
        #[test]
        fn an_answer_fits_and_loses_no_more_than_it_must(
            answers in 0_u8..200,
            additionals in 0_u8..60,
            limit in 100_usize..1500,
        ) {
            let whole = response(answers, additionals);
            let bytes = encode(&whole, limit);
            prop_assert!(bytes.len() <= limit);
            let got = Message::from_vec(&bytes).unwrap();
            prop_assert_eq!(&got.answers[..], &whole.answers[..got.answers.len()]);
            let all = got.answers.len() == whole.answers.len();
            prop_assert_eq!(got.metadata.truncation, !all);
            if !all {
                let one_more = response(u8::try_from(got.answers.len() + 1).unwrap(), 0);
                prop_assert!(one_more.to_vec().unwrap().len() > limit);
            }
        }

        #[test]
        fn no_packet_is_too_strange(packet in prop::collection::vec(any::<u8>(), 0..600)) {
            drop(read(&packet));
        }
    }
}
