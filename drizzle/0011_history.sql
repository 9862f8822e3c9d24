CREATE TABLE `history` (
	`step` integer NOT NULL,
	`time` integer NOT NULL,
	`kind` integer NOT NULL,
	`name` text NOT NULL,
	`covered` integer NOT NULL,
	`requests` integer NOT NULL,
	`client_errors` integer NOT NULL,
	`errors` integer NOT NULL,
	`limited` integer NOT NULL,
	`latency_0` integer NOT NULL,
	`latency_1` integer NOT NULL,
	`latency_2` integer NOT NULL,
	`latency_3` integer NOT NULL,
	`latency_4` integer NOT NULL,
	`latency_5` integer NOT NULL,
	`latency_6` integer NOT NULL,
	`latency_7` integer NOT NULL,
	`latency_8` integer NOT NULL,
	`latency_9` integer NOT NULL,
	`latency_10` integer NOT NULL,
	`latency_11` integer NOT NULL,
	`latency_12` integer NOT NULL,
	`latency_13` integer NOT NULL,
	`latency_14` integer NOT NULL,
	PRIMARY KEY(`step`, `time`, `kind`, `name`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `history_marks` (
	`run` text PRIMARY KEY NOT NULL,
	`at` integer NOT NULL,
	`sums` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `shadow_hours` (
	`hour` integer NOT NULL,
	`owner` text NOT NULL,
	`limit_name` text NOT NULL,
	`whole` integer NOT NULL,
	`consumer` text NOT NULL,
	`requests` integer NOT NULL,
	`refused` integer NOT NULL,
	PRIMARY KEY(`hour`, `owner`, `limit_name`, `whole`, `consumer`)
) WITHOUT ROWID;
