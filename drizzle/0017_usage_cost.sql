PRAGMA foreign_keys=OFF;--> statement-breakpoint
CREATE TABLE `__new_usage` (
	`hour` integer NOT NULL,
	`consumer` text NOT NULL,
	`key` text NOT NULL,
	`route` text NOT NULL,
	`model` text DEFAULT '' NOT NULL,
	`tool` text DEFAULT '' NOT NULL,
	`requests` integer NOT NULL,
	`errors` integer NOT NULL,
	`limited` integer NOT NULL,
	`tokens` integer NOT NULL,
	`cost` integer DEFAULT 0 NOT NULL,
	PRIMARY KEY(`hour`, `consumer`, `key`, `route`, `model`, `tool`)
);
--> statement-breakpoint
INSERT INTO `__new_usage`("hour", "consumer", "key", "route", "model", "tool", "requests", "errors", "limited", "tokens", "cost") SELECT "hour", "consumer", "key", "route", '', '', "requests", "errors", "limited", "tokens", 0 FROM `usage`;--> statement-breakpoint
DROP TABLE `usage`;--> statement-breakpoint
ALTER TABLE `__new_usage` RENAME TO `usage`;--> statement-breakpoint
PRAGMA foreign_keys=ON;--> statement-breakpoint
CREATE INDEX `usage_consumer` ON `usage` (`consumer`,`hour`);