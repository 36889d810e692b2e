"""The tables of the catalog's database, as the statements that lead from version to version."""

from __future__ import annotations

__all__ = ["VERSION", "VERSIONS"]

# Paths are bytes: a file's name need not be text. `Model.location` is the column "place".
_MODELS = """
CREATE TABLE models (
    key TEXT PRIMARY KEY, store TEXT NOT NULL, id TEXT NOT NULL, revision TEXT NOT NULL,
    path BLOB NOT NULL, place BLOB NOT NULL, stamp TEXT NOT NULL, format TEXT NOT NULL,
    architecture TEXT NOT NULL, shape TEXT NOT NULL, parameters INTEGER, dtypes TEXT NOT NULL,
    bits REAL, size INTEGER NOT NULL, licence TEXT NOT NULL, url TEXT NOT NULL,
    base_models TEXT NOT NULL, adapter TEXT NOT NULL, description TEXT NOT NULL,
    problem TEXT NOT NULL, missing INTEGER NOT NULL DEFAULT 0, found_at TEXT NOT NULL,
    modified_at TEXT NOT NULL, note TEXT NOT NULL DEFAULT '');
CREATE TABLE files (
    key TEXT NOT NULL REFERENCES models ON DELETE CASCADE, path BLOB NOT NULL,
    role TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL, PRIMARY KEY (key, path));
CREATE TABLE tags (
    key TEXT NOT NULL REFERENCES models ON DELETE CASCADE, tag TEXT NOT NULL,
    PRIMARY KEY (key, tag));
CREATE TABLE runs (
    path BLOB PRIMARY KEY, kind TEXT NOT NULL, created_at TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE analyses (
    key TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
    path BLOB NOT NULL REFERENCES runs ON DELETE CASCADE, PRIMARY KEY (key, path));
CREATE TABLE folders (path BLOB PRIMARY KEY);
CREATE TABLE hashes (
    device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (device, inode));
CREATE TABLE links (
    number INTEGER PRIMARY KEY, batch TEXT NOT NULL, token TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL, path BLOB NOT NULL, keeper BLOB NOT NULL, symbolic INTEGER NOT NULL,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, mode INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, atime_ns INTEGER NOT NULL, created_at TEXT NOT NULL);
"""
# Runs of every kind, whose models need not be known. `config`, `metrics` and `facts` are JSON
# objects: no question about ten thousand runs is slower for it, and they have no fixed columns.
_EXPERIMENTS = """
CREATE TABLE experiments (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, marker BLOB NOT NULL UNIQUE,
    folder BLOB NOT NULL, stamp TEXT NOT NULL, sha256 TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL, created_at TEXT NOT NULL, seconds REAL,
    models TEXT NOT NULL, config TEXT NOT NULL, metrics TEXT NOT NULL, facts TEXT NOT NULL,
    missing INTEGER NOT NULL DEFAULT 0, found_at TEXT NOT NULL, note TEXT NOT NULL DEFAULT '',
    token TEXT NOT NULL DEFAULT '');
CREATE INDEX experiments_by_content ON experiments (sha256);
CREATE TABLE experiment_tags (
    number INTEGER NOT NULL REFERENCES experiments ON DELETE CASCADE, tag TEXT NOT NULL,
    PRIMARY KEY (number, tag));
CREATE TABLE run_folders (path BLOB PRIMARY KEY);
CREATE TABLE bin (
    token TEXT PRIMARY KEY, origin BLOB NOT NULL, folder BLOB NOT NULL, state TEXT NOT NULL,
    size INTEGER NOT NULL, created_at TEXT NOT NULL);
"""
# What `catalog space` moved to bins: entries of `bin`, by the command that moved them.
_REMOVALS = """
CREATE TABLE removals (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE REFERENCES bin ON DELETE CASCADE,
    batch TEXT NOT NULL, kind TEXT NOT NULL);
"""
# Pairs of models whose weights were compared, while their files are those of the stamps.
_KIN = """
CREATE TABLE kin (
    a TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
    b TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
    stamp_a TEXT NOT NULL, stamp_b TEXT NOT NULL, relation TEXT NOT NULL,
    probability REAL NOT NULL, parent TEXT NOT NULL, sample TEXT NOT NULL, facts TEXT NOT NULL,
    measured_at TEXT NOT NULL, PRIMARY KEY (a, b));
CREATE INDEX kin_by_b ON kin (b);
"""
# What makes each version of the one before it; the first makes an empty file a catalog.
VERSIONS = (_MODELS, _EXPERIMENTS, _REMOVALS, _KIN)
VERSION = len(VERSIONS)
