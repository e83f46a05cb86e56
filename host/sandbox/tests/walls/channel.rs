//! A child that misuses its channel.

use sovr_sandbox::Role;
use sovr_sandbox::frame::{self, FrameError};

use crate::attempt::{Answer, Attempt, FRAME_MAX};
use crate::{nothing, run, start};

crate::tests!(
    an_oversized_frame_is_refused,
    a_malformed_frame_is_refused,
    a_torn_frame_is_refused,
);

fn answer_to_raw(bytes: Vec<u8>) -> FrameError {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::SendRaw(bytes), FRAME_MAX)
            .await
            .unwrap();
        frame::Reader::new(channel, FRAME_MAX)
            .next::<Answer>()
            .await
            .unwrap_err()
    })
}

fn an_oversized_frame_is_refused() {
    let error = answer_to_raw(u32::MAX.to_le_bytes().to_vec());
    assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
}

fn a_malformed_frame_is_refused() {
    let mut bytes = 8_u32.to_le_bytes().to_vec();
    bytes.extend([0xff; 8]);
    let error = answer_to_raw(bytes);
    assert!(matches!(error, FrameError::Malformed(_)), "{error}");
}

fn a_torn_frame_is_refused() {
    let mut bytes = 8_u32.to_le_bytes().to_vec();
    bytes.extend([0xff; 3]);
    let error = answer_to_raw(bytes);
    assert!(matches!(error, FrameError::Closed), "{error}");
}
