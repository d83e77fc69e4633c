//! Help as it reads, line by line: a change of it is seen in review.
//!
//! To accept a change: EMPTYROOM_WRITE_GOLDEN=1 cargo test -p emptyroom-relayd golden

use std::fs;
use std::path::Path;

use crate::process::binary;

#[test]
fn help_reads_as_it_was_approved() {
    for (file, arguments) in [
        ("help.txt", &["--help"][..]),
        ("serve.txt", &["serve", "--help"]),
        ("address.txt", &["address", "--help"]),
        ("status.txt", &["status", "--help"]),
        ("backup.txt", &["backup", "--help"]),
        ("restore.txt", &["restore", "--help"]),
        ("export.txt", &["export", "--help"]),
        ("import.txt", &["import", "--help"]),
    ] {
        let output = binary().args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it/golden")
            .join(file);
        if std::env::var_os("EMPTYROOM_WRITE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&path).unwrap(), "{file}");
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 100, "{file} has a line of {longest}");
    }
}
