CREATE TABLE `admin_use` (
	`id` integer PRIMARY KEY NOT NULL,
	`at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `sessions` (
	`hash` text PRIMARY KEY NOT NULL,
	`use` text NOT NULL,
	`token` text,
	`actor` text,
	`role` text,
	`claims` text,
	`consumer` text,
	`made_at` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `sessions_made` ON `sessions` (`made_at`);
--> statement-breakpoint
CREATE TRIGGER `sessions_inserted` AFTER INSERT ON `sessions` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('session', NEW.hash, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `sessions_deleted` AFTER DELETE ON `sessions` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('session', OLD.hash, NULL, unixepoch() * 1000);
END;
