CREATE TABLE `configurations` (
	`id` integer PRIMARY KEY NOT NULL,
	`text` text NOT NULL,
	`at` integer NOT NULL
);
