//! `cargo xtask cluster`: one relay on three nodes, with one database and NATS, and people who talk while parts of it are killed.
//!
//! Everything is real: the programs that users get, PostgreSQL and NATS as Debian has them, fresh vaults. What is killed is
//! killed with SIGKILL. The story ends with an error if a message is lost, shown twice, or takes longer than it may.

pub(crate) mod servers;

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::demo::on_interrupt;
use crate::demo::room::{Person, Programs, Room};
use crate::demo::teller::Teller;
use crate::{Outcome, system};
use servers::{Database, Nats, Node, free_ports};

const NODES: usize = 3;
/// After a node is gone, its clients are on others and a message is through within this.
const MOVES_WITHIN: Duration = Duration::from_secs(10);
/// After the database or NATS came back.
const BACK_WITHIN: Duration = Duration::from_secs(40);
/// How `send` ends when the message is kept, and goes out later.
const NOT_YET: i32 = 3;
/// NATS stays away for so long.
const NATS_AWAY: Duration = Duration::from_secs(5);

/// Tells the story; on a terminal everything then goes on running until Enter is pressed.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let alone = match arguments {
        [] => !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()),
        [flag] if flag == "--non-interactive" => true,
        _ => return Err("the only argument is --non-interactive".into()),
    };
    system::ready_for_cluster()?;
    let programs = Programs::build(&[])?;
    let room = Room::new("emptyroom-cluster")?;
    let mut teller = Teller::new();
    // Nothing is left running by Ctrl-C: what is asked for then fails, and everything ends as always.
    let (end, ends) = channel();
    if !alone {
        on_interrupt(end.clone())?;
    }
    let told = Cluster::start(&mut teller, &programs, &room).and_then(|mut cluster| {
        cluster.play(&mut teller)?;
        if !alone {
            cluster.leave_open(&mut teller);
            std::thread::spawn(move || {
                let _ = std::io::stdin().read_line(&mut String::new());
                let _ = end.send(());
            });
            let _ = ends.recv();
        }
        Ok(())
    });
    match told {
        Ok(()) => Ok(true),
        Err(why) => {
            eprintln!("the cluster failed: {why}");
            Ok(false)
        }
    }
}

/// Everything that runs. It ends in this order.
struct Cluster {
    daemons: Vec<Daemon>,
    nodes: Vec<Node>,
    nats: Nats,
    database: Database,
    people: Vec<Person>,
    said: usize,
}

/// Somebody's program, which keeps its vault open and stays connected.
struct Daemon(Child);

impl Daemon {
    /// Starts it, and waits until it serves.
    fn start(person: &Person) -> Result<Daemon, String> {
        let mut command = person.command(&["daemon", "--idle", "off"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let child = command.spawn();
        let child = child.map_err(|e| format!("cannot run a daemon: {e}"))?;
        let mut daemon = Daemon(child);
        let mut line = String::new();
        if let Some(output) = daemon.0.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        if line.is_empty() {
            return Err(format!("the daemon of {} did not start", person.name));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.0.wait();
    }
}

impl Cluster {
    fn start(teller: &mut Teller, programs: &Programs, room: &Room) -> Result<Cluster, String> {
        teller.title("1. A database, NATS, and three nodes of one relay");
        let database = Database::start(&room.directory)?;
        teller.good("PostgreSQL runs, with an empty database.");
        let nats = Nats::start()?;
        teller.good("NATS runs.");
        let ports = free_ports(NODES)?;
        let public = ports.iter().map(|port| format!("127.0.0.1:{port}"));
        let public = public.collect::<Vec<_>>().join(",");
        let mut nodes: Vec<Node> = Vec::new();
        for port in ports {
            let data = room.directory.join(format!("node{}", nodes.len() + 1));
            if let Some(first) = nodes.first() {
                first.copy_keys(&data)?;
            }
            let arguments = [
                "--public",
                &public,
                "--store",
                &database.address(),
                "--wake",
                &nats.address(),
            ];
            nodes.push(Node::start(&programs.relay, data, port, &arguments)?);
        }
        teller.typed(
            "node 1",
            "emptyroom-relay serve --public A,B,C --store postgres://… --wake nats://…",
        );
        teller.story("The other two have copies of its identity.key and day-keys, and nothing else in common but the database:");
        let address = nodes.first().map(|node| node.address()).transpose()?;
        let address = address.unwrap_or_default();
        let plain = address.split('?').next().unwrap_or_default();
        teller.printed(plain);
        let mut cluster = Cluster {
            daemons: Vec::new(),
            nodes,
            nats,
            database,
            people: Vec::new(),
            said: 0,
        };
        cluster.meet(teller, programs, room, &address)?;
        Ok(cluster)
    }

    fn meet(
        &mut self,
        teller: &mut Teller,
        programs: &Programs,
        room: &Room,
        address: &str,
    ) -> Result<(), String> {
        teller.title("2. Two people");
        let ada = Person::new("ada", &programs.client, room)?;
        let ben = Person::new("ben", &programs.client, room)?;
        let line = format!("{address}\n");
        ada.run(&["init", "--relay", "-", "--kdf", "minimum"], &line)?;
        ben.run(&["init", "--kdf", "minimum"], "")?;
        let link = ada.run(&["invite", "ben"], "")?.out;
        ben.run(&["join", "--as", "ada"], &format!("{}\n", link.trim()))?;
        for person in [&ada, &ben] {
            self.daemons.push(Daemon::start(person)?);
        }
        self.people = vec![ada, ben];
        self.talk(BACK_WITHIN)?;
        teller.good("They talk, each through a node that he drew by lot.");
        Ok(())
    }

    fn play(&mut self, teller: &mut Teller) -> Result<(), String> {
        teller.title("3. Each node is killed in turn");
        for number in 0..NODES {
            teller.typed("operator", &format!("kill -9 node{}", number + 1));
            self.node(number)?.kill();
            let took = self.talk(MOVES_WITHIN)?;
            teller.good(&format!(
                "Both talk on: one message each way within {:.1} seconds of it.",
                took.as_secs_f64()
            ));
            self.node(number)?.run()?;
        }
        teller.title("4. NATS is stopped");
        self.nats.stop();
        std::thread::sleep(NATS_AWAY);
        let took = self.talk(BACK_WITHIN)?;
        teller.good(&format!(
            "Messages still come, at the latest with the next sweep: {:.1} seconds.",
            took.as_secs_f64()
        ));
        self.nats.run()?;
        teller.title("5. PostgreSQL is killed, and started again");
        self.database.kill()?;
        self.database.run()?;
        let took = self.talk(BACK_WITHIN)?;
        teller.good(&format!(
            "It recovers, the nodes find it again, and nothing is missing: {:.1} seconds.",
            took.as_secs_f64()
        ));
        teller.story("");
        teller.story(&format!(
            "{} messages were sent. Each was shown, once.",
            self.said
        ));
        Ok(())
    }

    fn node(&mut self, number: usize) -> Result<&mut Node, String> {
        let node = self.nodes.get_mut(number);
        node.ok_or_else(|| format!("there is no node {number}"))
    }

    /// Each says something to the other, and hears that and nothing else; how long it took.
    fn talk(&mut self, longest: Duration) -> Result<Duration, String> {
        let begun = Instant::now();
        let [ada, ben] = self.people.as_slice() else {
            return Err("there are not two people".into());
        };
        for (from, to) in [(ada, ben), (ben, ada)] {
            self.said += 1;
            let text = format!("message {}", self.said);
            let sent = from.try_run(&["send", to.name, &text], "")?;
            if !matches!(sent.code, Some(0 | NOT_YET)) {
                return Err(format!("{}: {}{}", from.name, sent.out, sent.errors));
            }
            let mut heard = Vec::new();
            while heard.is_empty() {
                if begun.elapsed() > longest {
                    return Err(format!("{} did not get {text:?} in time", to.name));
                }
                heard = received(to)?;
            }
            if heard != [text.clone()] {
                return Err(format!("{} got {heard:?}, not once {text:?}", to.name));
            }
        }
        let took = begun.elapsed();
        if took > longest {
            return Err(format!("it took {:.1} seconds", took.as_secs_f64()));
        }
        Ok(took)
    }

    fn leave_open(&self, teller: &mut Teller) {
        teller.title("Go on by hand");
        teller.story("Everything is still running. In two other terminals:");
        teller.story("");
        for (person, other) in self.people.iter().zip(["ben", "ada"]) {
            teller.story(&format!("  {}", person.alias()));
            teller.story(&format!("  {} chat {other}", person.name));
            teller.story("");
        }
        for (number, node) in self.nodes.iter().enumerate() {
            teller.story(&format!("  kill -9 {}   # node {}", node.id(), number + 1));
        }
        teller.story("");
        teller.story("Press Enter here to stop and erase everything.");
    }
}

/// What is new to somebody.
fn received(person: &Person) -> Result<Vec<String>, String> {
    let events = person.json(&["receive", "--wait", "2s"])?;
    let texts = events
        .iter()
        .filter_map(|event| event.get("text")?.as_str().map(str::to_owned));
    Ok(texts.collect())
}
