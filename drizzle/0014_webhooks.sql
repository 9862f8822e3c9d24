CREATE TABLE `webhook_deliveries` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`webhook` text NOT NULL,
	`type` text NOT NULL,
	`body` text NOT NULL,
	`state` text DEFAULT 'waiting' NOT NULL,
	`tries` integer DEFAULT 0 NOT NULL,
	`created_at` integer NOT NULL,
	`next_at` integer,
	`ended_at` integer,
	`claim` text,
	`claim_until` integer,
	`last_at` integer,
	`status` integer,
	`answer` text,
	`error` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `webhook_deliveries_id_unique` ON `webhook_deliveries` (`id`);--> statement-breakpoint
CREATE INDEX `webhook_deliveries_webhook` ON `webhook_deliveries` (`webhook`,`seq`);--> statement-breakpoint
CREATE INDEX `webhook_deliveries_state` ON `webhook_deliveries` (`webhook`,`state`,`seq`);--> statement-breakpoint
CREATE INDEX `webhook_deliveries_first` ON `webhook_deliveries` (`webhook`,`seq`) WHERE state = 'waiting' AND tries = 0;--> statement-breakpoint
CREATE INDEX `webhook_deliveries_next` ON `webhook_deliveries` (`webhook`,`next_at`) WHERE state = 'waiting' AND tries > 0;--> statement-breakpoint
CREATE INDEX `webhook_deliveries_ended` ON `webhook_deliveries` (`webhook`,`ended_at`) WHERE ended_at IS NOT NULL;--> statement-breakpoint
CREATE TABLE `webhook_forgotten` (
	`webhook` text PRIMARY KEY NOT NULL,
	`seq` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `webhook_marks` (
	`name` text PRIMARY KEY NOT NULL,
	`until` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `keys_expires` ON `keys` (`expires_at`) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;