CREATE TABLE `changes` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`kind` text NOT NULL,
	`id` text NOT NULL,
	`was` text,
	`at` integer NOT NULL
);
--> statement-breakpoint
CREATE TRIGGER `consumers_inserted` AFTER INSERT ON `consumers` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('consumer', NEW.id, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `consumers_updated` AFTER UPDATE OF `version` ON `consumers` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('consumer', NEW.id, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `consumers_deleted` AFTER DELETE ON `consumers` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('consumer', OLD.id, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `keys_inserted` AFTER INSERT ON `keys` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('key', NEW.id, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `keys_updated` AFTER UPDATE OF `version` ON `keys` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('key', NEW.id, OLD.hash, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `keys_deleted` AFTER DELETE ON `keys` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES ('key', OLD.id, OLD.hash, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `documents_inserted` AFTER INSERT ON `documents` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES (NEW.kind, NEW.name, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `documents_updated` AFTER UPDATE OF `version` ON `documents` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES (NEW.kind, NEW.name, NULL, unixepoch() * 1000);
END;
--> statement-breakpoint
CREATE TRIGGER `documents_deleted` AFTER DELETE ON `documents` BEGIN
	INSERT INTO `changes` (`kind`, `id`, `was`, `at`) VALUES (OLD.kind, OLD.name, NULL, unixepoch() * 1000);
END;
