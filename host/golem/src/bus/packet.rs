//! Packets of the bus: four bytes of length, most significant first, then a protobuf message that has one field, whose
//! number says which packet it is.
//!
//! By hand: only two of protobuf's wire types occur, so the whole of it is shorter than the set-up of a generator, and
//! what peers claim about lengths is checked in one place.

/// Bytes of the length before each packet.
pub const LENGTH: usize = 4;

/// Longest packet that is accepted, in bytes. The largest in practice are chunks of files, of 40 KiB, and whole
/// scripts.
pub const MOST: usize = 16 << 20;

/// What two ends of a connection say to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Who speaks; the first packet in each direction.
    Hello {
        /// The program.
        name: String,
        /// Its version.
        version: String,
        /// 16 random bytes.
        instance: Vec<u8>,
    },
    /// Asks for all calls whose address begins with this one. Replies come in the order of the requests.
    Register {
        /// The address.
        service: String,
    },
    /// `code` 0, 400 for a bad address, 409 for one that is taken.
    RegisterReply {
        /// How it went.
        code: u32,
        /// Why not.
        message: String,
    },
    /// Takes a registration back.
    Unregister {
        /// The address.
        service: String,
    },
    /// `code` 0 or 404.
    UnregisterReply {
        /// How it went.
        code: u32,
    },
    /// Calls a service.
    CallRequest(CallRequest),
    /// Its answer, or a part of it.
    CallReply(CallReply),
    /// Asks for what is broadcast under a topic.
    Subscribe {
        /// The topic.
        topic: String,
    },
    /// `code` 0 or 400.
    SubscribeReply {
        /// How it went.
        code: u32,
        /// Why not.
        message: String,
    },
    /// Takes a subscription back.
    Unsubscribe {
        /// The topic.
        topic: String,
    },
    /// `code` 0 or 404.
    UnsubscribeReply {
        /// How it went.
        code: u32,
    },
    /// Says something to all who subscribed; and, from a router to those, what was said.
    Broadcast {
        /// Who says it.
        caller: String,
        /// What.
        data: Vec<u8>,
        /// Under which topic.
        topic: String,
    },
    /// `code` 0 or 400.
    BroadcastReply {
        /// How it went.
        code: u32,
        /// Why not.
        message: String,
    },
    /// Asks for a [`Packet::Pong`]; who never answers is cut off.
    Ping,
    /// The answer.
    Pong,
}

/// A call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Who calls, as far as it concerns the far side: what a remote node claims is overwritten by the daemon.
    pub caller: String,
    /// Which method of which service.
    pub address: String,
    /// Ties replies to it. Random: a router may key the way back by it.
    pub request_id: String,
    /// The body, as FlexBuffers.
    pub data: Vec<u8>,
    /// No reply is wanted.
    pub no_reply: bool,
}

/// An answer, or a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallReply {
    /// Of the call.
    pub request_id: String,
    /// 0; 400 if nobody listens there; 500 if somebody failed. Other than 0, `data` is plain text.
    pub code: u32,
    /// More is to come.
    pub partial: bool,
    /// The body, as FlexBuffers.
    pub data: Vec<u8>,
}

/// Bytes that are not a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// It is longer than [`MOST`].
    #[error("a packet of {0} bytes on the service bus, more than {MOST}")]
    TooLong(u32),
    /// It ends early, or is no protobuf.
    #[error("a packet on the service bus that cannot be read: {0}")]
    Malformed(&'static str),
    /// It is of a kind that nobody knows.
    #[error("a packet of unknown kind {0} on the service bus")]
    Unknown(u64),
}

/// How many bytes follow these.
pub fn length(bytes: [u8; LENGTH]) -> Result<usize, PacketError> {
    let length = u32::from_be_bytes(bytes);
    match usize::try_from(length) {
        Ok(fits) if fits <= MOST => Ok(fits),
        _ => Err(PacketError::TooLong(length)),
    }
}

impl Packet {
    /// The packet with its length before it. Fails only if it is longer than [`MOST`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, PacketError> {
        let (kind, fields) = self.to_fields();
        let mut body = Vec::new();
        put_bytes(&mut body, kind, &fields.0);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        if body.len() > MOST {
            return Err(PacketError::TooLong(length));
        }
        Ok([&length.to_be_bytes()[..], &body].concat())
    }

    /// Reads what follows the length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Packet, PacketError> {
        let mut packet = None;
        for field in fields(bytes) {
            if let (number, Value::Bytes(bytes)) = field? {
                // The last one counts, as everywhere in protobuf.
                packet = Some((number, bytes));
            }
        }
        let (kind, bytes) = packet.ok_or(PacketError::Malformed("it is empty"))?;
        Packet::from_fields(kind, &Message::read(bytes)?)
    }

    fn to_fields(&self) -> (u64, Fields) {
        let fields = Fields::default();
        match self {
            Packet::Hello {
                name,
                version,
                instance,
            } => (1, fields.text(1, name).text(2, version).bytes(3, instance)),
            Packet::Register { service } => (2, fields.text(1, service)),
            Packet::RegisterReply { code, message } => (3, fields.int(1, *code).text(2, message)),
            Packet::Unregister { service } => (4, fields.text(1, service)),
            Packet::UnregisterReply { code } => (5, fields.int(1, *code)),
            Packet::CallRequest(call) => (
                6,
                fields
                    .text(1, &call.caller)
                    .text(2, &call.address)
                    .text(3, &call.request_id)
                    .bytes(4, &call.data)
                    .int(5, call.no_reply.into()),
            ),
            Packet::CallReply(reply) => (
                7,
                fields
                    .text(1, &reply.request_id)
                    .int(2, reply.code)
                    .int(3, reply.partial.into())
                    .bytes(4, &reply.data),
            ),
            Packet::Subscribe { topic } => (8, fields.text(1, topic)),
            Packet::SubscribeReply { code, message } => (9, fields.int(1, *code).text(2, message)),
            Packet::Unsubscribe { topic } => (10, fields.text(1, topic)),
            Packet::UnsubscribeReply { code } => (11, fields.int(1, *code)),
            Packet::Broadcast {
                caller,
                data,
                topic,
            } => (12, fields.text(1, caller).bytes(2, data).text(3, topic)),
            Packet::BroadcastReply { code, message } => (13, fields.int(1, *code).text(2, message)),
            Packet::Ping => (14, fields),
            Packet::Pong => (15, fields),
        }
    }

    fn from_fields(kind: u64, message: &Message<'_>) -> Result<Packet, PacketError> {
        Ok(match kind {
            1 => Packet::Hello {
                name: message.text(1)?,
                version: message.text(2)?,
                instance: message.bytes(3),
            },
            2 => Packet::Register {
                service: message.text(1)?,
            },
            3 => Packet::RegisterReply {
                code: message.int(1)?,
                message: message.text(2)?,
            },
            4 => Packet::Unregister {
                service: message.text(1)?,
            },
            5 => Packet::UnregisterReply {
                code: message.int(1)?,
            },
            6 => Packet::CallRequest(CallRequest {
                caller: message.text(1)?,
                address: message.text(2)?,
                request_id: message.text(3)?,
                data: message.bytes(4),
                no_reply: message.int(5)? != 0,
            }),
            7 => Packet::CallReply(CallReply {
                request_id: message.text(1)?,
                code: message.int(2)?,
                partial: message.int(3)? != 0,
                data: message.bytes(4),
            }),
            8 => Packet::Subscribe {
                topic: message.text(1)?,
            },
            9 => Packet::SubscribeReply {
                code: message.int(1)?,
                message: message.text(2)?,
            },
            10 => Packet::Unsubscribe {
                topic: message.text(1)?,
            },
            11 => Packet::UnsubscribeReply {
                code: message.int(1)?,
            },
            12 => Packet::Broadcast {
                caller: message.text(1)?,
                data: message.bytes(2),
                topic: message.text(3)?,
            },
            13 => Packet::BroadcastReply {
                code: message.int(1)?,
                message: message.text(2)?,
            },
            14 => Packet::Ping,
            15 => Packet::Pong,
            unknown => return Err(PacketError::Unknown(unknown)),
        })
    }
}

/// A message that is being written. What is zero or empty is left out.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn int(mut self, number: u64, value: u32) -> Self {
        if value != 0 {
            put_int(&mut self.0, number << 3);
            put_int(&mut self.0, value.into());
        }
        self
    }

    fn bytes(mut self, number: u64, value: &[u8]) -> Self {
        if !value.is_empty() {
            put_bytes(&mut self.0, number, value);
        }
        self
    }

    fn text(self, number: u64, value: &str) -> Self {
        self.bytes(number, value.as_bytes())
    }
}

fn put_bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    put_int(out, number << 3 | WIRE_BYTES);
    put_int(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Seven bits a byte, the least significant first.
fn put_int(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message that was read.
struct Message<'a>(Vec<(u64, Value<'a>)>);

#[derive(Clone, Copy)]
enum Value<'a> {
    Int(u64),
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, PacketError> {
        fields(bytes).collect::<Result<_, _>>().map(Self)
    }

    fn last(&self, number: u64) -> Option<Value<'a>> {
        let found = self.0.iter().rev().find(|(known, _)| *known == number)?;
        Some(found.1)
    }

    fn int(&self, number: u64) -> Result<u32, PacketError> {
        match self.last(number) {
            Some(Value::Int(value)) => {
                u32::try_from(value).map_err(|_| PacketError::Malformed("a number is too large"))
            }
            _ => Ok(0),
        }
    }

    fn bytes(&self, number: u64) -> Vec<u8> {
        match self.last(number) {
            Some(Value::Bytes(value)) => value.to_vec(),
            _ => Vec::new(),
        }
    }

    fn text(&self, number: u64) -> Result<String, PacketError> {
        String::from_utf8(self.bytes(number))
            .map_err(|_| PacketError::Malformed("a text is not UTF-8"))
    }
}

const WIRE_INT: u64 = 0;
const WIRE_BYTES: u64 = 2;

/// The fields of a message, in their order.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), PacketError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = take_field(&mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Value<'a>), PacketError> {
    let tag = take_int(rest)?;
    let value = match tag & 7 {
        WIRE_INT => Value::Int(take_int(rest)?),
        WIRE_BYTES => {
            let length = usize::try_from(take_int(rest)?).unwrap_or(usize::MAX);
            let (bytes, after) = rest
                .split_at_checked(length)
                .ok_or(PacketError::Malformed("it ends early"))?;
            *rest = after;
            Value::Bytes(bytes)
        }
        _ => return Err(PacketError::Malformed("a field of unknown form")),
    };
    Ok((tag >> 3, value))
}

fn take_int(rest: &mut &[u8]) -> Result<u64, PacketError> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, after) = rest
            .split_first()
            .ok_or(PacketError::Malformed("it ends early"))?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(PacketError::Malformed("a number without an end"))
}

#[cfg(test)]
mod tests {
    use super::{CallReply, CallRequest, LENGTH, MOST, Packet, PacketError, length};

    fn every_kind() -> Vec<Packet> {
        let text = str::to_owned;
        vec![
            Packet::Hello {
                name: text("program"),
                version: text("1.0"),
                instance: vec![0xff; 16],
            },
            Packet::Register {
                service: text("/public/a"),
            },
            Packet::RegisterReply {
                code: 409,
                message: text("taken"),
            },
            Packet::Unregister {
                service: text("/public/a"),
            },
            Packet::UnregisterReply { code: 404 },
            Packet::CallRequest(CallRequest {
                caller: text("/a"),
                address: text("/b/Method"),
                request_id: text("17"),
                data: vec![0, 0, 1],
                no_reply: true,
            }),
            Packet::CallReply(CallReply {
                request_id: text("17"),
                code: 500,
                partial: true,
                data: vec![7; 300],
            }),
            Packet::Subscribe { topic: text("t") },
            Packet::SubscribeReply {
                code: 400,
                message: text("bad"),
            },
            Packet::Unsubscribe { topic: text("t") },
            Packet::UnsubscribeReply { code: 404 },
            Packet::Broadcast {
                caller: text("/a"),
                data: vec![1, 2],
                topic: text("t"),
            },
            Packet::BroadcastReply {
                code: 400,
                message: text("bad"),
            },
            Packet::Ping,
            Packet::Pong,
        ]
    }

    #[test]
    fn every_packet_is_read_as_it_was_written() {
        for packet in every_kind() {
            let bytes = packet.to_bytes().unwrap();
            let (head, body) = bytes.split_first_chunk::<LENGTH>().unwrap();
            assert_eq!(length(*head), Ok(body.len()), "{packet:?}");
            assert_eq!(Packet::from_bytes(body), Ok(packet));
        }
    }

    #[test]
    fn packets_are_what_protobuf_makes_of_them() {
        let call = Packet::CallReply(CallReply {
            request_id: "ab".to_owned(),
            code: 400,
            partial: false,
            data: vec![9],
        });
        assert_eq!(
            hex::encode(call.to_bytes().unwrap()),
            // Length; field 7 of 10 bytes; field 1 "ab"; field 2 = 400; nothing for the zero in field 3; field 4.
            concat!("0000000c", "3a0a", "0a026162", "109003", "220109")
        );
        assert_eq!(
            hex::encode(Packet::Ping.to_bytes().unwrap()),
            concat!("00000002", "7200")
        );
    }

    #[test]
    fn unknown_fields_are_passed_over_and_the_last_of_a_kind_counts() {
        // Field 9 = 1, then another topic, then the topic, then field 10 = "x".
        let bytes = hex::decode(concat!("420b", "4801", "0a0173", "0a0174", "520178")).unwrap();
        let topic = "t".to_owned();
        assert_eq!(Packet::from_bytes(&bytes), Ok(Packet::Subscribe { topic }));
    }

    #[test]
    fn a_packet_that_is_cut_anywhere_is_an_error_and_no_panic() {
        for packet in every_kind() {
            let bytes = packet.to_bytes().unwrap();
            for end in LENGTH..bytes.len() {
                let read = Packet::from_bytes(&bytes[LENGTH..end]);
                assert!(
                    matches!(read, Err(PacketError::Malformed(_))),
                    "{packet:?} {end}"
                );
            }
        }
    }

    #[test]
    fn lengths_and_numbers_of_a_peer_are_bounded() {
        assert_eq!(length((MOST as u32).to_be_bytes()), Ok(MOST));
        let more = MOST as u32 + 1;
        assert_eq!(length(more.to_be_bytes()), Err(PacketError::TooLong(more)));
        let data = vec![0; MOST];
        let long = Packet::CallReply(CallReply {
            data,
            ..CallReply::default()
        });
        assert!(matches!(long.to_bytes(), Err(PacketError::TooLong(_))));
        for malformed in [
            // A field of 2^63 bytes; a number that never ends; fixed-size numbers; a code of 2^32; text of no text.
            "3a80808080808080808001",
            "ffffffffffffffffffffff",
            "3a020d00",
            "1a06088080808010",
            "12030a01ff",
        ] {
            let read = Packet::from_bytes(&hex::decode(malformed).unwrap());
            assert!(
                matches!(read, Err(PacketError::Malformed(_))),
                "{malformed}"
            );
        }
        assert_eq!(
            Packet::from_bytes(&[0x82, 1, 0]),
            Err(PacketError::Unknown(16))
        );
    }
}
