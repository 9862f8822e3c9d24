CREATE TABLE `versions` (
	`slot` text PRIMARY KEY NOT NULL,
	`number` integer NOT NULL,
	`at` integer NOT NULL,
	`actor` text NOT NULL,
	`source` text NOT NULL,
	`note` text,
	`summary` text NOT NULL,
	`documents` text NOT NULL,
	`file_before` text,
	`file_after` text,
	`restored` integer,
	`version` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `versions_number` ON `versions` (`number`);
--> statement-breakpoint
CREATE TRIGGER `versions_inserted` AFTER INSERT ON `versions` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('version', NEW.slot, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `versions_updated` AFTER UPDATE OF `version` ON `versions` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('version', NEW.slot, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `versions_deleted` AFTER DELETE ON `versions` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('version', OLD.slot, NULL, unixepoch() * 1000);
END;
