CREATE TABLE `accepted_keys` (
	`pair` text PRIMARY KEY NOT NULL,
	`at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `accepted_keys_at` ON `accepted_keys` (`at`);