//! `cargo xtask cluster`: one relay on three nodes, with one database and NATS, and people who talk all the time while parts of it are killed.
//!
//! Everything is real: the programs that users get, PostgreSQL and NATS as Debian has them, fresh vaults. What is killed is
//! killed with SIGKILL. The story ends with an error if a message is lost, shown twice, or takes longer than it may.

pub(crate) mod servers;
mod talk;

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::demo::on_interrupt;
use crate::demo::room::{Person, Programs, Room};
use crate::demo::teller::Teller;
use crate::{Outcome, system};
use servers::{Database, Nats, Node, free_ports};
use talk::Talk;

const NODES: usize = 3;
/// After a node is gone, its clients are on others and a message is through within this.
const MOVES_WITHIN: Duration = Duration::from_secs(10);
/// After the database or NATS came back.
const BACK_WITHIN: Duration = Duration::from_secs(40);
/// NATS stays away for so long.
const NATS_AWAY: Duration = Duration::from_secs(60);
/// Who talks with whom.
const PAIRS: [(&str, &str); 3] = [("ada", "ben"), ("cleo", "dan"), ("eva", "finn")];

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
    pairs: Vec<(Person, Person)>,
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
            pairs: Vec::new(),
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
        teller.title("2. People");
        for (one, other) in PAIRS {
            let inviter = Person::new(one, &programs.client, room)?;
            let taker = Person::new(other, &programs.client, room)?;
            let line = format!("{address}\n");
            inviter.run(&["init", "--relay", "-", "--kdf", "minimum"], &line)?;
            taker.run(&["init", "--kdf", "minimum"], "")?;
            let link = inviter.run(&["invite", other], "")?.out;
            taker.run(&["join", "--as", one], &format!("{}\n", link.trim()))?;
            for person in [&inviter, &taker] {
                self.daemons.push(Daemon::start(person)?);
            }
            self.pairs.push((inviter, taker));
        }
        teller.good("Three pairs, each of them through a node that he drew by lot.");
        Ok(())
    }

    fn play(&mut self, teller: &mut Teller) -> Result<(), String> {
        let talk = Talk::begin(&self.pairs)?;
        talk.goes_on(Instant::now(), BACK_WITHIN)?;
        teller.good("They talk: everybody says something about twice a second, until the end.");
        teller.title("3. Each node is killed in turn");
        for number in 0..NODES {
            teller.typed("operator", &format!("kill -9 node{}", number + 1));
            let killed = Instant::now();
            self.node(number)?.kill();
            let took = talk.goes_on(killed, MOVES_WITHIN)?;
            teller.good(&format!(
                "All six talk on: what each said after it was shown to the other within {:.1} seconds of it.",
                took.as_secs_f64()
            ));
            self.node(number)?.run()?;
        }
        teller.title("4. NATS is stopped for a minute");
        let stopped = Instant::now();
        self.nats.stop();
        let took = talk.goes_on(stopped, BACK_WITHIN)?;
        teller.good(&format!(
            "Messages still come, at the latest with the next sweep: {:.1} seconds.",
            took.as_secs_f64()
        ));
        std::thread::sleep(NATS_AWAY.saturating_sub(stopped.elapsed()));
        self.nats.run()?;
        let took = talk.goes_on(Instant::now(), BACK_WITHIN)?;
        teller.good(&format!("It is back: {:.1} seconds.", took.as_secs_f64()));
        teller.title("5. PostgreSQL is killed, and started again");
        let killed = Instant::now();
        self.database.kill()?;
        self.database.run()?;
        let took = talk.goes_on(killed, BACK_WITHIN)?;
        teller.good(&format!(
            "It recovers, the nodes find it again, and nothing is missing: {:.1} seconds.",
            took.as_secs_f64()
        ));
        let all = talk.end(BACK_WITHIN)?;
        teller.story("");
        teller.story(&format!(
            "{all} messages were sent. Each was shown, once, in the order in which it was said."
        ));
        Ok(())
    }

    fn node(&mut self, number: usize) -> Result<&mut Node, String> {
        let node = self.nodes.get_mut(number);
        node.ok_or_else(|| format!("there is no node {number}"))
    }

    fn leave_open(&self, teller: &mut Teller) {
        teller.title("Go on by hand");
        teller.story("Everything is still running. In two other terminals:");
        teller.story("");
        for (one, other) in self.pairs.iter().take(1) {
            for (person, with) in [(one, other), (other, one)] {
                teller.story(&format!("  {}", person.alias()));
                teller.story(&format!("  {} chat {}", person.name, with.name));
                teller.story("");
            }
        }
        for (number, node) in self.nodes.iter().enumerate() {
            teller.story(&format!("  kill -9 {}   # node {}", node.id(), number + 1));
        }
        teller.story("");
        teller.story("Press Enter here to stop and erase everything.");
    }
}
