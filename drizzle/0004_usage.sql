CREATE TABLE `usage` (
	`hour` integer NOT NULL,
	`consumer` text NOT NULL,
	`key` text NOT NULL,
	`route` text NOT NULL,
	`requests` integer NOT NULL,
	`errors` integer NOT NULL,
	`limited` integer NOT NULL,
	`tokens` integer NOT NULL,
	PRIMARY KEY(`hour`, `consumer`, `key`, `route`)
);
--> statement-breakpoint
CREATE INDEX `usage_consumer` ON `usage` (`consumer`,`hour`);--> statement-breakpoint
ALTER TABLE `consumers` ADD `quota` text;--> statement-breakpoint
ALTER TABLE `keys` ADD `quota` text;