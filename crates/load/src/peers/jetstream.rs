//! The NATS protocol with JetStream: a work queue in one stream, a durable push consumer for each mailbox, explicit acknowledgements.

use super::Trouble;
use super::client::{Dialect, Event, Events, Role};

/// The stream that holds every mailbox.
const STREAM: &str = "MAIL";
/// A recipient's subscriptions: messages, and answers to requests.
const MESSAGES: &str = "1";
const ANSWERS: &str = "2";
/// The longest line of the protocol that is taken; only the server's `INFO` is long.
const LINE_LEN_MAX: usize = 64 * 1024;

/// What a connection does.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// Makes the stream, and is done.
    MakeStream,
    Client(Role),
}

/// The state of one client.
pub(super) struct JetStream {
    task: Task,
    /// Where answers to this client go.
    inbox: String,
}

impl JetStream {
    pub(super) fn new(task: Task) -> JetStream {
        let inbox = match task {
            Task::MakeStream => "answers.maker".to_owned(),
            Task::Client(Role::Sender(number)) => format!("answers.s{number}"),
            Task::Client(Role::Recipient(mailbox)) => format!("answers.r{mailbox}"),
        };
        JetStream { task, inbox }
    }

    fn message(
        &self,
        head: &Head<'_>,
        payload: &[u8],
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Result<(), Trouble> {
        if head.subscription == MESSAGES {
            let reply = head
                .reply
                .ok_or("NATS delivered without asking for an answer")?;
            put_publish(reply, None, b"+ACK", out);
            events.push_back(Event::Delivered(payload.to_vec()));
            return Ok(());
        }
        let answer = String::from_utf8_lossy(payload);
        if answer.contains("\"error\"") {
            return Err(format!("JetStream refused: {answer}").into());
        }
        match self.task {
            Task::Client(Role::Sender(_)) => {
                let token = head.subject.rsplit('.').next().map(str::parse);
                let token = token.ok_or("NATS sent an answer to nothing")??;
                events.push_back(Event::Acknowledged(token));
            }
            _ => events.push_back(Event::Ready),
        }
        Ok(())
    }
}

impl Dialect for JetStream {
    fn greeted_in_the_clear(&self) -> bool {
        true
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        put_line(
            r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"headers":false,"protocol":1,"lang":"rust","version":"0"}"#,
            out,
        );
        put_line(&format!("SUB {}.* {ANSWERS}", self.inbox), out);
        let reply = format!("{}.0", self.inbox);
        match self.task {
            Task::MakeStream => {
                let wanted = format!(
                    r#"{{"name":"{STREAM}","subjects":["mail.*"],"retention":"workqueue","storage":"file","num_replicas":1,"max_consumers":-1,"max_msgs":-1,"max_bytes":-1}}"#
                );
                let subject = format!("$JS.API.STREAM.CREATE.{STREAM}");
                put_publish(&subject, Some(&reply), wanted.as_bytes(), out);
            }
            Task::Client(Role::Recipient(mailbox)) => {
                put_line(&format!("SUB deliver.{mailbox} {MESSAGES}"), out);
                // Asking again for what is there already changes nothing.
                let wanted = format!(
                    r#"{{"stream_name":"{STREAM}","config":{{"durable_name":"r{mailbox}","deliver_subject":"deliver.{mailbox}","filter_subject":"mail.{mailbox}","ack_policy":"explicit","deliver_policy":"all","replay_policy":"instant"}}}}"#
                );
                let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.r{mailbox}");
                put_publish(&subject, Some(&reply), wanted.as_bytes(), out);
            }
            Task::Client(Role::Sender(_)) => put_line("PING", out),
        }
    }

    fn send(&mut self, token: u64, mailbox: u32, payload: &[u8], out: &mut Vec<u8>) {
        let reply = format!("{}.{token}", self.inbox);
        put_publish(&format!("mail.{mailbox}"), Some(&reply), payload, out);
    }

    fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Result<usize, Trouble> {
        let mut rest = input;
        while let Some((line, after)) = line(rest)? {
            if let Some(head) = line.strip_prefix("MSG ") {
                let head = Head::parse(head).ok_or_else(|| format!("NATS sent: {line}"))?;
                let Some((payload, after)) = after.split_at_checked(head.len) else {
                    break;
                };
                let Some((end, after)) = after.split_first_chunk() else {
                    break;
                };
                if end != b"\r\n" {
                    return Err(format!("NATS sent a message longer than it said: {line}").into());
                }
                self.message(&head, payload, out, events)?;
                rest = after;
                continue;
            }
            match line.split(' ').next() {
                Some("PING") => put_line("PONG", out),
                // Only a sender asked.
                Some("PONG") => events.push_back(Event::Ready),
                Some("INFO" | "+OK") => {}
                _ => return Err(format!("NATS sent: {line}").into()),
            }
            rest = after;
        }
        Ok(input.len() - rest.len())
    }

    fn close(&mut self, _: &mut Vec<u8>) {}
}

/// The line before a message: `subject sid [reply] length`.
struct Head<'a> {
    subject: &'a str,
    subscription: &'a str,
    reply: Option<&'a str>,
    len: usize,
}

impl Head<'_> {
    fn parse(text: &str) -> Option<Head<'_>> {
        let mut words = text.split(' ');
        let (subject, subscription) = (words.next()?, words.next()?);
        let (third, fourth) = (words.next()?, words.next());
        Some(Head {
            subject,
            subscription,
            reply: fourth.map(|_| third),
            len: fourth.unwrap_or(third).parse().ok()?,
        })
    }
}

/// The first line of the input, and what follows it; `None` while it is not whole.
fn line(input: &[u8]) -> Result<Option<(&str, &[u8])>, Trouble> {
    let head = input.get(..LINE_LEN_MAX).unwrap_or(input);
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        if input.len() >= LINE_LEN_MAX {
            return Err("NATS sent a line without an end".into());
        }
        return Ok(None);
    };
    let line = std::str::from_utf8(head.get(..end).unwrap_or_default())?;
    Ok(Some((line, input.get(end + 2..).unwrap_or_default())))
}

fn put_line(line: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put_publish(subject: &str, reply: Option<&str>, payload: &[u8], out: &mut Vec<u8>) {
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    put_line(&format!("PUB {subject} {reply}{}", payload.len()), out);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_whole_and_acknowledged() {
        let mut recipient = JetStream::new(Task::Client(Role::Recipient(3)));
        let input = b"PING\r\nMSG mail.3 1 $JS.ACK.x 7\r\na\r\nb\0cd\r\n+OK\r\n";
        let (mut out, mut events) = (Vec::new(), Events::new());
        let mut taken = 0;
        for end in 0..=input.len() {
            let part = &input[taken..end];
            taken += recipient.receive(part, &mut out, &mut events).unwrap();
        }
        assert_eq!(taken, input.len());
        assert_eq!(
            events.pop_front(),
            Some(Event::Delivered(b"a\r\nb\0cd".to_vec()))
        );
        assert_eq!(out, b"PONG\r\nPUB $JS.ACK.x 4\r\n+ACK\r\n");
    }

    #[test]
    fn an_answer_carries_its_token_and_a_refusal_is_an_error() {
        let mut sender = JetStream::new(Task::Client(Role::Sender(0)));
        let (mut out, mut events) = (Vec::new(), Events::new());
        let good = b"MSG answers.s0.12 2 11\r\n{\"seq\":2.0}\r\n";
        sender.receive(good, &mut out, &mut events).unwrap();
        assert_eq!(events.pop_front(), Some(Event::Acknowledged(12)));
        for bad in [
            &b"MSG answers.s0.12 2 11\r\n{\"error\":1}\r\n"[..],
            b"MSG answers.s0.12 2 1\r\n{}\r\n",
            b"MSG answers.s0 2\r\n",
            b"-ERR 'no'\r\n",
        ] {
            assert!(sender.receive(bad, &mut out, &mut events).is_err());
        }
    }
}
