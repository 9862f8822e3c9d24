CREATE TABLE `pool_spent` (
	`pool` text NOT NULL,
	`key` text NOT NULL,
	`spent` text NOT NULL,
	PRIMARY KEY(`pool`, `key`)
);
