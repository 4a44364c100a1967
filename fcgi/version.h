/* SPDX-License-Identifier: MIT */
#ifndef FCGI_VERSION_H
#define FCGI_VERSION_H

#define RUSHES_VERSION "0.1.0"

#endif
