-- A catalog as the first release wrote it.
CREATE TABLE models (key TEXT PRIMARY KEY, store TEXT NOT NULL, id TEXT NOT NULL, revision TEXT NOT NULL, path BLOB NOT NULL, place BLOB NOT NULL, stamp TEXT NOT NULL, format TEXT NOT NULL, architecture TEXT NOT NULL, shape TEXT NOT NULL, parameters INTEGER, dtypes TEXT NOT NULL, bits REAL, size INTEGER NOT NULL, licence TEXT NOT NULL, url TEXT NOT NULL, base_models TEXT NOT NULL, adapter TEXT NOT NULL, description TEXT NOT NULL, problem TEXT NOT NULL, missing INTEGER NOT NULL DEFAULT 0, found_at TEXT NOT NULL, modified_at TEXT NOT NULL, note TEXT NOT NULL DEFAULT '');
CREATE TABLE files (key TEXT NOT NULL REFERENCES models ON DELETE CASCADE, path BLOB NOT NULL, role TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (key, path));
CREATE TABLE tags (key TEXT NOT NULL REFERENCES models ON DELETE CASCADE, tag TEXT NOT NULL, PRIMARY KEY (key, tag));
CREATE TABLE runs (path BLOB PRIMARY KEY, kind TEXT NOT NULL, created_at TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE analyses (key TEXT NOT NULL REFERENCES models ON DELETE CASCADE, path BLOB NOT NULL REFERENCES runs ON DELETE CASCADE, PRIMARY KEY (key, path));
INSERT INTO models VALUES (
    'aaaa11112222', 'hub', 'owner/tiny', 'c0', x'2f6d', x'2f6d2f612e67677566', 'stamp', 'gguf',
    'llama', '{"layers": 2}', 10, '{"F32": 10}', 32.0, 40, 'mit', '', '["base"]', '', 'words', '',
    0, '2025-01-01T00:00:00+00:00', '', 'a note');
INSERT INTO files VALUES ('aaaa11112222', x'2f6d2f612e67677566', 'weights', 40, 1, '');
INSERT INTO tags VALUES ('aaaa11112222', 'good');
INSERT INTO runs VALUES (x'2f72', 'analyze', '2025-01-02', '{"gbps": 1.5}');
INSERT INTO analyses VALUES ('aaaa11112222', x'2f72');
PRAGMA application_id = 0x6D6C7870;
PRAGMA user_version = 1;
