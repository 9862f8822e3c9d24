CREATE TABLE `usage_files` (
	`file` text PRIMARY KEY NOT NULL,
	`sequence` integer NOT NULL
);
