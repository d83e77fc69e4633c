//! The disk as a vault sees it: a directory and its files.

use std::io;

use emptyroom_vault::{Directory, File};

use super::{Content, Disk, Op, Recorded};

struct Lock(Disk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl Directory for Disk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state();
        state.note(|| "lock".to_owned());
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        drop(state);
        Ok(Box::new(Lock(self.clone())))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.note(|| format!("create {name}"));
        state.step()?;
        let id = match state.names.get(name).copied() {
            // The same file, cut to nothing.
            Some(id) => {
                let content = state.files.get_mut(&id).unwrap();
                content.now.clear();
                content.reserved = 0;
                content.unsynced.push(Op::Truncate(0));
                id
            }
            None => {
                let id = state.next_file;
                state.next_file += 1;
                state.files.insert(id, Content::default());
                state.names.insert(name.to_owned(), id);
                id
            }
        };
        drop(state);
        Ok(Box::new(Handle {
            disk: self.clone(),
            id,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.note(|| format!("open {name}"));
        state.alive()?;
        if state.shut > 0 {
            state.shut -= 1;
            return Err(io::ErrorKind::Other.into());
        }
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(Box::new(Handle {
            disk: self.clone(),
            id,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.note(|| format!("rename {from} {to}"));
        state.step()?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.note(|| format!("remove {name}"));
        state.alive()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step()?;
        state.names.remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.note(|| "sync".to_owned());
        state.step()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct Handle {
    disk: Disk,
    id: u64,
}

impl Handle {
    fn op(&self, op: Op) -> io::Result<()> {
        let mut state = self.disk.state();
        let name = state.name_of(self.id);
        state.note(|| match &op {
            Op::Write(offset, data) => format!("write {name} {offset} {}", data.len()),
            Op::Grow(len) => format!("grow {name} {len}"),
            Op::Truncate(len) => format!("truncate {name} {len}"),
        });
        state.step()?;
        if state.read_only.as_ref() == Some(&name) {
            return Err(io::ErrorKind::Other.into());
        }
        let end = match &op {
            Op::Write(offset, data) => offset + data.len() as u64,
            Op::Grow(len) => *len,
            Op::Truncate(_) => 0,
        };
        state.room(self.id, end)?;
        if let Op::Write(offset, data) = &op {
            if state.reads(&name, *offset, data.len()).is_err() {
                state.bad = None;
            }
            let recorded = Recorded {
                name,
                offset: *offset,
                bytes: data.clone(),
            };
            if let Some(recording) = &mut state.recording {
                recording.push(recorded);
            }
        }
        let content = state.files.get_mut(&self.id).unwrap();
        match &op {
            Op::Grow(len) => content.reserved = content.reserved.max(*len),
            Op::Truncate(len) => content.reserved = *len,
            Op::Write(..) => {}
        }
        op.apply(&mut content.now);
        content.unsynced.push(op);
        Ok(())
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        let name = state.name_of(self.id);
        state.note(|| format!("len {name}"));
        state.alive()?;
        Ok(state.files[&self.id].now.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let name = state.name_of(self.id);
        state.note(|| format!("read {name} {offset} {}", out.len()));
        state.alive()?;
        state.reads(&name, offset, out.len())?;
        let content = &state.files[&self.id].now;
        let from = offset as usize;
        let part = content
            .get(from..from + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.op(Op::Write(offset, data.to_vec()))
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.op(Op::Grow(len))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.op(Op::Truncate(len))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let name = state.name_of(self.id);
        state.note(|| format!("sync {name}"));
        state.step()?;
        let content = state.files.get_mut(&self.id).unwrap();
        content.durable = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }
}
