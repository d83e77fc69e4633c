//! Servers that others use for the same work, from Debian packages, each with TLS and a fresh directory.
