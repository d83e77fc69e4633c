//! JSON-RPC 2.0 as the daemon speaks it: one object per line, both directions. Bytes to types and back, no sockets.
//!
//! Every request carries an id and gets exactly one response; there are no batches. Events come as notifications of the
//! method `event` to connections that called `subscribe`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::{Answer, Call, Event, EventLine, Exit, Failure, INTERFACE_VERSION};

/// The longest request line, in bytes without its line break: a text of 16 KiB fits even if every byte is escaped.
// [SPEC 12.23]
pub const REQUEST_BYTES_MAX: usize = 128 * 1024;

/// The longest line a client takes from a daemon: 100 lines of history with every byte escaped fit.
pub const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most lines one `history` or `unread` asks for over the socket.
pub const PAGE_LINES_MAX: usize = 100;

/// The error codes of JSON-RPC for what is no call at all; a call that failed has -32000 minus its exit code.
const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;

/// A request that can be carried out.
pub struct Request {
    /// What the response repeats.
    pub id: Value,
    /// What is asked.
    pub call: Call,
}

/// Why a line is no request, with what the response needs.
#[derive(Debug, PartialEq)]
pub struct NoRequest {
    id: Value,
    code: i64,
    text: &'static str,
}

/// Reads one line of a client.
///
/// # Errors
/// What the response has to say.
// [SPEC 12.21]
pub fn parse_request(line: &[u8]) -> Result<Request, NoRequest> {
    let refuse = |id: Value, code: i64, text: &'static str| Err(NoRequest { id, code, text });
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        return refuse(Value::Null, PARSE_ERROR, "not one JSON value in one line");
    };
    let Value::Object(mut object) = value else {
        return refuse(
            Value::Null,
            INVALID_REQUEST,
            "expected one object; batches are not taken",
        );
    };
    let id = match object.remove("id") {
        Some(id @ (Value::String(_) | Value::Number(_))) => id,
        _ => {
            return refuse(
                Value::Null,
                INVALID_REQUEST,
                "expected an id that is a string or a number",
            );
        }
    };
    if object.remove("jsonrpc") != Some(Value::String("2.0".to_owned())) {
        return refuse(id, INVALID_REQUEST, "expected jsonrpc \"2.0\"");
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return refuse(id, INVALID_REQUEST, "expected a method");
    };
    let params = object
        .remove("params")
        .unwrap_or_else(|| Value::Object(Map::new()));
    if !object.is_empty() {
        return refuse(
            id,
            INVALID_REQUEST,
            "expected only jsonrpc, id, method and params",
        );
    }
    if !params.is_object() {
        return refuse(id, INVALID_PARAMS, "expected params by name");
    }
    if !METHODS.contains(&method.as_str()) {
        return refuse(id, METHOD_NOT_FOUND, "no such method");
    }
    match serde_json::from_value(json!({ "method": method, "params": params })) {
        Ok(call) => Ok(Request { id, call }),
        Err(_) => refuse(id, INVALID_PARAMS, "params do not fit the method"),
    }
}

/// Every method, as chapter 12 lists them.
// [SPEC 12.20]
pub const METHODS: &[&str] = &[
    "set_relay",
    "invite",
    "cancel_invite",
    "invites",
    "join",
    "contacts",
    "rename",
    "forget",
    "send",
    "unread",
    "shown",
    "history",
    "delete",
    "set_timer",
    "set_receipts",
    "fingerprint",
    "confirm_verified",
    "block",
    "allow_restart",
    "status",
    "alarms_told",
    "flush",
    "change_secret",
    "vault_mode",
    "set_mode",
    "forget_left",
    "set_panic",
    "unset_panic",
    "set_recovery",
    "drill",
    "panic",
    "set_deadman",
    "suspend_deadman",
    "set_switch",
    "unset_switch",
    "lock",
    "subscribe",
];

/// The request line of a client.
pub fn request_line(id: u64, call: &Call) -> String {
    let mut value = serde_json::to_value(call).unwrap_or(Value::Null);
    if let Value::Object(object) = &mut value {
        object.insert("jsonrpc".to_owned(), json!("2.0"));
        object.insert("id".to_owned(), json!(id));
    }
    line(&value)
}

/// The response to a call.
pub fn response_line(id: &Value, outcome: &Result<Answer, Failure>) -> String {
    match outcome {
        Ok(answer) => {
            let mut result = serde_json::to_value(answer).unwrap_or(Value::Null);
            if let Value::Object(object) = &mut result {
                object.insert("v".to_owned(), json!(INTERFACE_VERSION));
            }
            line(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        }
        Err(failure) => {
            let code = -32_000 - i64::from(u8::from(failure.exit));
            line(&json!({ "jsonrpc": "2.0", "id": id,
                "error": { "code": code, "message": failure.text, "data": failure } }))
        }
    }
}

/// The response to what is no request.
pub fn refusal_line(why: &NoRequest) -> String {
    line(
        &json!({ "jsonrpc": "2.0", "id": why.id, "error": { "code": why.code, "message": why.text } }),
    )
}

/// What a connection is told that is not served.
// [SPEC 12.24]
pub fn busy_line() -> String {
    response_line(&Value::Null, &Err(Failure::busy()))
}

/// An event as a notification.
pub fn event_line(event: &Event) -> String {
    line(&json!({ "jsonrpc": "2.0", "method": "event", "params": EventLine::new(event.clone()) }))
}

/// What a daemon can send.
pub enum FromDaemon {
    /// The response to a request of this id.
    Response(u64, Result<Answer, Failure>),
    /// It does not serve this connection.
    Refusal(Failure),
    /// Something happened.
    Event(Event),
}

/// Reads one line of a daemon.
///
/// # Errors
/// When it is not what a daemon of this version sends.
pub fn parse_from_daemon(line: &[u8]) -> Result<FromDaemon, Failure> {
    let foreign = || {
        Failure::new(
            Exit::Fault,
            "daemon_foreign",
            "the daemon answered with something this version does not know",
        )
        .hint("stop the running daemon and start it again")
    };
    let Ok(Value::Object(mut object)) = serde_json::from_slice(line) else {
        return Err(foreign());
    };
    if let Some(params) = object.remove("params") {
        let line: EventLine = serde_json::from_value(params).map_err(|_| foreign())?;
        return if line.v == INTERFACE_VERSION {
            Ok(FromDaemon::Event(line.event))
        } else {
            Err(foreign())
        };
    }
    let id = object.remove("id").ok_or_else(foreign)?;
    let numbered = id.as_u64().ok_or_else(foreign);
    if let Some(mut result) = object.remove("result") {
        let version = result.as_object_mut().and_then(|r| r.remove("v"));
        if version != Some(json!(INTERFACE_VERSION)) {
            return Err(foreign());
        }
        return Ok(FromDaemon::Response(
            numbered?,
            Ok(serde_json::from_value(result).map_err(|_| foreign())?),
        ));
    }
    let data = object
        .remove("error")
        .and_then(|mut e| e.as_object_mut().and_then(|e| e.remove("data")));
    let failure: Failure =
        serde_json::from_value(data.ok_or_else(foreign)?).map_err(|_| foreign())?;
    if id.is_null() {
        return Ok(FromDaemon::Refusal(failure));
    }
    Ok(FromDaemon::Response(numbered?, Err(failure)))
}

fn line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Cuts a byte stream into lines of bounded length.
pub struct Lines {
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line break.
    searched: usize,
    bytes_max: usize,
}

/// A line longer than the limit: the stream cannot be used any more.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// Lines of at most `bytes_max` bytes, without their line break.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            searched: 0,
            bytes_max,
        }
    }

    /// Takes bytes over.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, if there is one.
    ///
    /// # Errors
    /// When it is, or will be, longer than allowed.
    // [SPEC 12.23]
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched
            .iter()
            .position(|&b| b == b'\n')
            .map(|at| at + self.searched)
        else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > self.bytes_max {
                Err(TooLong)
            } else {
                Ok(None)
            };
        };
        if at > self.bytes_max {
            return Err(TooLong);
        }
        let rest = self.buffer.split_off(at + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.pop();
        self.searched = 0;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests;
