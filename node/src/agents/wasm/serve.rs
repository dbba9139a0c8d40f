//! A module's wishes, served by hands.

use super::host::{State, Wish};
use crate::contract::{Hands, Prompt};

/// Serves one wish: its length or 0, −1 with the reason to be taken, −2 for an empty queue.
pub(super) fn serve(wish: Wish, hands: &mut dyn Hands, state: &mut State) -> i32 {
    let answer = match wish {
        Wish::Read(path) => hands.read(&path),
        Wish::Write(path, content) => hands.write(&path, &content).map(|()| Vec::new()),
        Wish::Send(queue, message) => hands.send(&queue, &message).map(|()| Vec::new()),
        Wish::Receive(queue) => match hands.receive(&queue) {
            Ok(None) => return -2,
            other => other.map(|message| message.unwrap_or_default().to_string().into_bytes()),
        },
        Wish::Ask(prompt) => {
            let prompt = Prompt {
                prompt,
                ..Prompt::default()
            };
            hands.ask(&prompt).map(|reply| reply.text.into_bytes())
        }
    };
    match answer {
        Ok(bytes) => {
            let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            state.answer = bytes;
            length
        }
        Err(error) => {
            let reason = error.to_string();
            state.reason.get_or_insert_with(|| reason.clone());
            state.answer = reason.into_bytes();
            -1
        }
    }
}
