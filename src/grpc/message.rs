//! The messages. Encoding and decoding are prost's; the few answers that never change are kept encoded.

use std::collections::BTreeMap;

use bytes::BufMut;
use prost::Message;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus as Wire,
};

use super::status::Refusal;
use crate::{bounds::LONGEST_SERVICE, report::Status};

/// Before each message: a flag and a length.
pub(super) const PREFIX: usize = 5;

/// What `Check` and `Watch` answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ServingStatus {
    Serving = Wire::Serving as u8,
    NotServing = Wire::NotServing as u8,
    ServiceUnknown = Wire::ServiceUnknown as u8,
}

impl ServingStatus {
    pub(super) const ALL: [Self; 3] = [Self::Serving, Self::NotServing, Self::ServiceUnknown];

    /// `HealthCheckResponse` with this status, framed.
    // Kept, not encoded anew: tonic's codec takes two buffers of 8 KiB a call.
    pub(super) const fn frame(self) -> &'static [u8] {
        match self {
            Self::Serving => &[0, 0, 0, 0, 2, 8, 1],
            Self::NotServing => &[0, 0, 0, 0, 2, 8, 2],
            Self::ServiceUnknown => &[0, 0, 0, 0, 2, 8, 3],
        }
    }
}

impl From<Status> for ServingStatus {
    fn from(status: Status) -> Self {
        if status.is_serving() {
            Self::Serving
        } else {
            Self::NotServing
        }
    }
}

/// The name of the service that `message` asks for.
pub(super) fn name_in(message: &[u8]) -> Result<String, Refusal> {
    let request = HealthCheckRequest::decode(message).map_err(|_| Refusal::MALFORMED)?;
    if request.service.len() > LONGEST_SERVICE {
        return Err(Refusal::TOO_LONG);
    }
    Ok(request.service)
}

// tonic-health's generated types end before List was added to the protocol.
#[derive(Clone, PartialEq, Message)]
struct HealthListRequest {}

#[derive(Clone, PartialEq, Message)]
struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

/// Whether `message` is a request for the list.
pub(super) fn check_list_request(message: &[u8]) -> Result<(), Refusal> {
    match HealthListRequest::decode(message) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::MALFORMED),
    }
}

/// The list, framed.
pub(super) fn list(statuses: impl IntoIterator<Item = (String, ServingStatus)>) -> Box<[u8]> {
    let statuses = statuses
        .into_iter()
        .map(|(name, serving)| {
            let status = i32::from(serving as u8);
            (name, HealthCheckResponse { status })
        })
        .collect();
    framed(&HealthListResponse { statuses })
}

fn framed(message: &impl Message) -> Box<[u8]> {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(PREFIX + length);
    frame.put_u8(0);
    // A hundred names of 200 bytes at most.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    frame.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tonic_health::pb::HealthCheckResponse;

    use super::{HealthListResponse, ServingStatus, framed, list, name_in};

    #[test]
    fn the_kept_frames_are_what_prost_encodes() {
        for serving in ServingStatus::ALL {
            let status = i32::from(serving as u8);
            assert_eq!(*framed(&HealthCheckResponse { status }), *serving.frame());
        }
    }

    #[test]
    fn a_list_decodes_to_what_was_put_in() {
        let frame = list([
            (String::new(), ServingStatus::Serving),
            ("b".into(), ServingStatus::NotServing),
        ]);
        let decoded = HealthListResponse::decode(&frame[5..]).expect("well-formed");
        let statuses: Vec<_> = decoded
            .statuses
            .iter()
            .map(|(name, response)| (name.as_str(), response.status))
            .collect();
        assert_eq!(statuses, [("", 1), ("b", 2)]);
    }

    #[test]
    fn a_request_is_any_well_formed_protobuf_with_a_short_name() {
        let name = |length: usize| {
            let mut message = vec![10, (length % 128) as u8 | 128, (length / 128) as u8];
            message.extend(vec![b'x'; length]);
            message
        };
        let table: [(&[u8], Option<usize>); 9] = [
            (b"", Some(0)),
            (b"\x0a\x00", Some(0)),
            (b"\x0a\x03abc", Some(3)),
            // The last one counts; unknown fields are skipped.
            (b"\x0a\x01a\x10\x07\x0a\x02bc", Some(2)),
            (&name(200), Some(200)),
            (&name(201), None),
            (b"\x0a\x03ab", None),
            (b"\x0a\x01\xff", None),
            (b"\xff\xff\xff\xff", None),
        ];
        for (message, expected) in table {
            let found = name_in(message).ok();
            assert_eq!(found.map(|name| name.len()), expected, "{message:?}");
        }
    }
}
