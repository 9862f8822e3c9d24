CREATE TABLE `replicas` (
	`kind` text NOT NULL,
	`id` text NOT NULL,
	`rev` integer NOT NULL,
	`deleted` integer NOT NULL,
	PRIMARY KEY(`kind`, `id`)
);
--> statement-breakpoint
CREATE TABLE `replication` (
	`id` integer PRIMARY KEY NOT NULL,
	`epoch` text NOT NULL,
	`position` text NOT NULL
);
--> statement-breakpoint
ALTER TABLE `changes` ADD `shared` integer DEFAULT false NOT NULL;