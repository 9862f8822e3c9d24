CREATE TABLE `audit` (
	`seq` integer PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`at` integer NOT NULL,
	`actor` text NOT NULL,
	`ip` text NOT NULL,
	`action` text NOT NULL,
	`subject` text NOT NULL,
	`before` text,
	`after` text,
	`request_id` text NOT NULL,
	`hash` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_at` ON `audit` (`at`);--> statement-breakpoint
CREATE INDEX `audit_subject` ON `audit` (`subject`,`seq`);--> statement-breakpoint
CREATE TABLE `audit_chain` (
	`id` integer PRIMARY KEY NOT NULL,
	`first_seq` integer NOT NULL,
	`anchor` text NOT NULL,
	`last_seq` integer NOT NULL,
	`last_hash` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `blocks` (
	`cidr` text PRIMARY KEY NOT NULL,
	`reason` text NOT NULL,
	`by` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer
);
--> statement-breakpoint
ALTER TABLE `admin_tokens` ADD `role` text DEFAULT 'admin' NOT NULL;--> statement-breakpoint
ALTER TABLE `admin_tokens` ADD `last_used_at` integer;--> statement-breakpoint
CREATE TRIGGER `blocks_inserted` AFTER INSERT ON `blocks` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('block', NEW.cidr, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `blocks_deleted` AFTER DELETE ON `blocks` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('block', OLD.cidr, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `admin_tokens_inserted` AFTER INSERT ON `admin_tokens` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('token', NEW.id, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `admin_tokens_deleted` AFTER DELETE ON `admin_tokens` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('token', OLD.id, NULL, unixepoch() * 1000);
END;
